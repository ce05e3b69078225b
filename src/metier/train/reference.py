"""What the trained model answers while it is still in memory: the first hop of the parity certificate.

Shapes: M = label positions, V = vocabulary.
"""

import json
from collections.abc import Sequence as Many
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from metier.core import artefact, seeds
from metier.core.types import Row, Sequence
from metier.forest.states import label_answers
from metier.text.asking import prompt
from metier.text.render import Renderer
from metier.text.tasks import ASKING

_KIND = "parity-reference"
_MOST_ROWS = 16
_MOST_BYTES = 64 << 20


def record(
    run: Path, model: torch.nn.Module, sequences: Many[Sequence], rows: Many[Row], renderer: Renderer, *,
    own_answers: bool = False,
) -> None:  # fmt: skip
    """Publish `parity-reference/`: `reference.safetensors` with `logprobs` float32 [M, V], and `rows.json`.

    Args:
        run: the run's folder.
        model: as trained, best weights restored.
        sequences: rendered rows to choose from, by a fixed permutation, up to 16 rows and 64 MiB.
        rows: the same data as rows, for prompts as a server would see them.
        renderer: of the run.
        own_answers: the answers are the model's, not the rows'.
    """
    by_id = {row.id: row for row in rows}
    chosen = _choose(sequences, renderer.tokenizer.vocabulary)
    model.eval()
    parts = dict(label_answers(model, chosen))
    logprobs = torch.cat([parts[index] for index in range(len(chosen))]).cpu().contiguous()
    entries = [_entry(sequence, by_id.get(sequence.row_id), renderer) for sequence in chosen]
    labels = sum(int((sequence.weights != 0).sum()) for sequence in chosen)
    facts = {
        "answers_per_label": len(logprobs) // labels,
        "stop_ids": list(renderer.tokenizer.stop_ids),
        "template": renderer.template.digest,
        "own_answers": own_answers,
    }
    with artefact.publish(run / "parity-reference", kind=_KIND, facts=facts) as folder:
        save_file({"logprobs": logprobs}, str(folder / "reference.safetensors"))
        (folder / "rows.json").write_text(json.dumps(entries, ensure_ascii=False) + "\n", encoding="utf-8")


def _choose(sequences: Many[Sequence], vocabulary: int) -> list[Sequence]:
    room = _MOST_BYTES // (4 * vocabulary)
    chosen: list[Sequence] = []
    for index in seeds.permutation(len(sequences), "parity"):
        sequence = _cut(sequences[int(index)], room)
        labels = int((sequence.weights != 0).sum())
        if labels:
            chosen.append(sequence)
            room -= labels
        if len(chosen) == _MOST_ROWS or room <= 0:
            break
    return chosen


def _cut(sequence: Sequence, most_labels: int) -> Sequence:
    """Return the beginning of a sequence that holds at most `most_labels` labels."""
    labels = (sequence.weights != 0).nonzero()[0]
    if len(labels) <= most_labels:
        return sequence
    end = int(labels[most_labels])
    return replace(sequence, ids=sequence.ids[:end], weights=sequence.weights[:end])


def _entry(sequence: Sequence, row: Row | None, renderer: Renderer) -> dict[str, Any]:
    prompt_ids = list(prompt(row, renderer).ids) if isinstance(row, ASKING) else None
    return {
        "row_id": sequence.row_id,
        "source": sequence.source,
        "ids": sequence.ids.tolist(),
        "weights": sequence.weights.tolist(),
        "prompt_ids": prompt_ids,
    }
