"""All rows of a split as three arrays, rendered once and kept on disk under a key of everything that made them."""

import json
from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from metier.core import artefact, digest
from metier.core.errors import DataError
from metier.core.progress import Progress
from metier.core.types import Dropped, Row, Sequence
from metier.text.render import Renderer, render_many

_KIND = "rendered"
_ARRAYS = "sequences.safetensors"
_NAMES = "rows.json"
_SLICE = 128
"""Rows between two moves of the progress bar, and the most rendered at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """R sequences with N tokens in all.

    `ids` int32 [N]; `weights` float32 [N]; `offsets` int64 [R+1]: sequence i is `ids[offsets[i]:offsets[i+1]]`.
    `row_ids`, `sources`: of the row that each sequence came from. `dropped`: rows that gave none. `targets` float32
    [R, K]: what a head is to say. `partner`: the R same answers behind other prompts.
    """

    ids: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    row_ids: tuple[str, ...]
    sources: tuple[str, ...]
    dropped: tuple[Dropped, ...] = ()
    targets: np.ndarray | None = None
    partner: "Rendered | None" = None

    def __len__(self) -> int:
        """Return the number of sequences R."""
        return len(self.row_ids)

    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each sequence, int64 [R]."""
        return np.diff(self.offsets)

    def sequence(self, number: int) -> Sequence:
        """Return one sequence; its arrays are views."""
        start, end = self.offsets[number], self.offsets[number + 1]
        return Sequence(
            ids=self.ids[start:end],
            weights=self.weights[start:end],
            row_id=self.row_ids[number],
            source=self.sources[number],
            target=None if self.targets is None else self.targets[number],
            partner=None if self.partner is None else self.partner.sequence(number),
        )


def render_rows(rows: Items[Row], renderer: Renderer, progress: Progress) -> Rendered:
    """Render every row, in order.

    Raises:
        ProofError: the template is not prefix-stable for a row.
        DataError: a row that cannot be learnt at all; see `render.render`.
    """
    sequences: list[Sequence] = []
    dropped: list[Dropped] = []
    with progress.task("render", len(rows)) as task:
        for start in range(0, len(rows), _SLICE):
            part = rows[start : start + _SLICE]
            for result in render_many(part, renderer):
                if isinstance(result, Dropped):
                    dropped.append(result)
                else:
                    sequences.extend(result)
            task.advance(len(part))
    return columns(sequences, dropped)


def cached(store: Path, key: str, make: Callable[[], Rendered]) -> Rendered:
    """Return what `<store>/cache/rendered-<key>` holds, or make it and keep it there.

    Args:
        store: the project's `.metier` folder.
        key: from `cache_key`; what differs in any way must have another key.
        make: renders, if nothing is kept or what is kept is damaged.
    """
    target = store / "cache" / f"rendered-{key}"
    try:
        return _load(target)
    except DataError:
        rendered = make()
    with artefact.publish(target, kind=_KIND, facts={"key": key, "sequences": len(rendered)}) as folder:
        _save(rendered, folder)
    return rendered


def cache_key(rows_digest: str, renderer: Renderer) -> str:
    """Return 16 hexadecimal digits of (rows, tokenizer, template, limit, settings, version of this code)."""
    return digest.of_value([rows_digest, renderer.digest])[:16]


def columns(sequences: Items[Sequence], dropped: Items[Dropped]) -> Rendered:
    """Lay sequences into arrays; their targets and partners are left behind."""
    lengths = [len(sequence) for sequence in sequences]
    empty_ids, empty_weights = np.zeros(0, np.int32), np.zeros(0, np.float32)
    return Rendered(
        ids=np.concatenate([empty_ids, *(sequence.ids for sequence in sequences)]),
        weights=np.concatenate([empty_weights, *(sequence.weights for sequence in sequences)]),
        offsets=np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))).astype(np.int64),
        row_ids=tuple(sequence.row_id for sequence in sequences),
        sources=tuple(sequence.source for sequence in sequences),
        dropped=tuple(dropped),
    )


def _save(rendered: Rendered, folder: Path) -> None:
    arrays = {"ids": rendered.ids, "weights": rendered.weights, "offsets": rendered.offsets}
    save_file(arrays, folder / _ARRAYS)
    names = {
        "row_ids": rendered.row_ids,
        "sources": rendered.sources,
        "dropped": [asdict(entry) for entry in rendered.dropped],
    }
    (folder / _NAMES).write_text(json.dumps(names), encoding="utf-8")


def _load(target: Path) -> Rendered:
    artefact.verify(target, _KIND)
    arrays = load_file(target / _ARRAYS)
    names = json.loads((target / _NAMES).read_text(encoding="utf-8"))
    return Rendered(
        ids=arrays["ids"],
        weights=arrays["weights"],
        offsets=arrays["offsets"],
        row_ids=tuple(names["row_ids"]),
        sources=tuple(names["sources"]),
        dropped=tuple(Dropped(**entry) for entry in names["dropped"]),
    )
