"""What the trained model answered while it was still in memory, as training recorded it.

Shapes: T = tokens of one sequence, M = label positions, V = vocabulary.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.types import Sequence

_NORMALISED = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Rendered rows and the trained model's log-probabilities, float32 [M_i, V], at the labels of each.

    `prompt_ids` are what a server would see before the last answer, None for rows without one; `stop_ids` where it
    would stop. `worded`: answers are over the vocabulary, not over the classes of a head. `own_answers`: the sequences
    end with what the model itself said to the rows, not with an answer of theirs.
    """

    sequences: tuple[Sequence, ...]
    prompt_ids: tuple[tuple[int, ...] | None, ...]
    stop_ids: tuple[int, ...]
    recorded: torch.Tensor
    offsets: tuple[int, ...]
    worded: bool = True
    own_answers: bool = False

    @property
    def tokens(self) -> int:
        """Return the number of labels M over all rows."""
        return len(self.recorded)

    def logprobs(self, index: int) -> torch.Tensor:
        """Return the recorded log-probabilities of one row, float32 [M_i, V]."""
        return self.recorded[self.offsets[index] : self.offsets[index + 1]]

    def labels(self, index: int) -> torch.Tensor:
        """Return the tokens that one row teaches, int64 [M_i]; none where a head answers."""
        sequence = self.sequences[index]
        return torch.from_numpy(sequence.ids[sequence.weights != 0]).long() if self.worded else torch.zeros(0).long()


def read(folder: Path) -> Reference:
    """Read and check `parity-reference/` of a run.

    Raises:
        DataError: it is missing, was changed since it was written, or what it holds cannot be a model's answers.
    """
    manifest = artefact.verify(folder, "parity-reference")
    try:
        entries = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
        recorded = load_file(str(folder / "reference.safetensors"))["logprobs"]
        sequences = tuple(_sequence(entry) for entry in entries)
        prompts = tuple(None if entry["prompt_ids"] is None else tuple(entry["prompt_ids"]) for entry in entries)
        stop_ids = tuple(manifest.facts["stop_ids"])
        per_label = int(manifest.facts.get("answers_per_label", 1))
        own_answers = bool(manifest.facts.get("own_answers", False))
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DataError(f"{folder}: not a parity reference ({error})", "the one that training wrote") from error
    counts = [per_label * int((sequence.weights != 0).sum()) for sequence in sequences]
    _require_answers(folder, recorded, sum(counts))
    offsets = tuple(int(place) for place in np.cumsum([0, *counts]))
    largest = max((int(sequence.ids.max()) for sequence in sequences), default=0)
    return Reference(
        sequences=sequences,
        prompt_ids=prompts,
        stop_ids=stop_ids,
        recorded=recorded,
        offsets=offsets,
        worded=per_label == 1 and recorded.shape[1] > largest,
        own_answers=own_answers,
    )


def _sequence(entry: dict[str, object]) -> Sequence:
    return Sequence(
        ids=np.array(entry["ids"], dtype=np.int32),
        weights=np.array(entry["weights"], dtype=np.float32),
        row_id=str(entry["row_id"]),
        source=str(entry["source"]),
    )


def _require_answers(folder: Path, recorded: torch.Tensor, labels: int) -> None:
    """Refuse a reference that would prove nothing: no label, another number of labels, no probability distributions."""
    if recorded.ndim != 2 or len(recorded) != labels or not labels:
        raise DataError(f"{folder}: answers of shape {list(recorded.shape)} for {labels} labels", "one answer a label")
    total = recorded.double().logsumexp(-1).abs().max().item()
    if not math.isfinite(total) or total > _NORMALISED:
        raise DataError(
            f"{folder}: answers are no probabilities (they sum to exp({total:.3g}))", "a trained model's answers"
        )
