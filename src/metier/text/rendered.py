"""All rows of a split as three arrays, rendered once and kept on disk under a key of everything that made them."""

import json
import os
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from metier.core import artefact, digest, extras
from metier.core.errors import DataError
from metier.core.progress import Progress
from metier.core.types import Dropped, Row, Sequence
from metier.text.digits import ranges
from metier.text.pieces import Encoder, Unequal
from metier.text.pour import Foundry, Poured
from metier.text.render import Renderer, render_many

_KIND = "rendered"
_ARRAYS = "sequences.safetensors"
_NAMES = "rows.json"
_SLICE = 4096
"""Rows poured at once, and between two moves of the progress bar."""

_TOGETHER = 128
"""Most rows that a template renders at once."""

FEWEST_ROWS = 3_000
"""Fewer are encoded before a second library for it would have been loaded."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """R sequences with N tokens in all.

    `ids` int32 [N]; `weights` float32 [N]; `offsets` int64 [R+1]: sequence i is `ids[offsets[i]:offsets[i+1]]`.
    `row_ids`, `sources`: of the row that each sequence came from. `dropped`: rows that gave none. `targets` float32
    [R, K]: what a head is to say, or what the base gives answers. `partner`: the R same answers behind other prompts.
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
    """Render every row, in order; see `Rendering`.

    Raises:
        ProofError: the template is not prefix-stable for a row.
        DataError: a row that cannot be learnt at all; see `render.render`.
    """
    return Rendering(renderer, len(rows)).of(rows, progress)


class Rendering:
    """Renders part after part; all rows at once where that is proven to give the same as one by one (see `pour`).

    Args:
        renderer: of the base.
        count: how many rows there are about: whether a second library is worth loading.
    """

    def __init__(self, renderer: Renderer, count: int) -> None:
        self._renderer = renderer
        self._ways = [True, False] if count >= FEWEST_ROWS and not extras.missing("fast") else [False]
        self._foundry: Foundry | None = None

    def of(self, rows: Items[Row], progress: Progress) -> Rendered:
        """Render rows, in order.

        Raises:
            ProofError: the template is not prefix-stable for a row.
            DataError: a row that cannot be learnt at all; see `render.render`.
        """
        while self._ways:
            fast = self._ways[0]
            try:
                self._foundry = self._foundry or Foundry(self._renderer, self._encoder(fast=fast))
                return _joined([*_slices(rows, self._renderer, self._foundry, progress)], rows)
            except Unequal as error:
                progress.say(f"rendering {'with the slower tokenizer' if fast else 'row by row'}: {error}")
                self._foundry = None
                del self._ways[0]
        return _joined([*_slices(rows, self._renderer, None, progress)], rows)

    def _encoder(self, *, fast: bool) -> Encoder:
        alone = os.environ.get("RAYON_NUM_THREADS") == "1"
        return self._renderer.tokenizer.encoder(fast=fast, parallel=False if alone else None)


def _slices(rows: Items[Row], renderer: Renderer, foundry: Foundry | None, progress: Progress) -> Iterator["_Slice"]:
    """Render slice after slice."""
    with progress.task("render", len(rows)) as task:
        for start in range(0, len(rows), _SLICE):
            part = rows[start : start + _SLICE]
            poured, left = foundry.pour(part) if foundry else ([], list(range(len(part))))
            task.advance(len(part) - len(left))
            dropped = {place: item for each in poured for place, item in each.dropped.items()}
            for first in range(0, len(left), _TOGETHER):
                places = left[first : first + _TOGETHER]
                results = render_many([part[place] for place in places], renderer)
                poured.append(_poured(places, results, dropped))
                task.advance(len(places))
            yield _Slice(start, poured, [dropped[place] for place in sorted(dropped)])


@dataclass(frozen=True, slots=True)
class _Slice:
    """Rows from `start` on, in any order."""

    start: int
    poured: list[Poured]
    dropped: list[Dropped]


def _poured(places: list[int], results: Items[tuple[Sequence, ...] | Dropped], dropped: dict[int, Dropped]) -> Poured:
    """Bring rows that were rendered one by one into the form of the others."""
    found: list[tuple[int, Sequence]] = []
    for place, result in zip(places, results, strict=True):
        if isinstance(result, Dropped):
            dropped[place] = result
        else:
            found += [(place, sequence) for sequence in result]
    return Poured(
        places=np.asarray([place for place, _ in found], np.int64),
        ids=np.concatenate([np.zeros(0, np.int32), *(sequence.ids for _, sequence in found)]),
        weights=np.concatenate([np.zeros(0, np.float32), *(sequence.weights for _, sequence in found)]),
        lengths=np.asarray([len(sequence) for _, sequence in found], np.int64),
    )


def _joined(slices: list[_Slice], rows: Items[Row]) -> Rendered:
    """Put all sequences into the order of their rows."""
    parts = [(each.start, part) for each in slices for part in each.poured]
    places = np.concatenate([np.zeros(0, np.int64), *(start + part.places for start, part in parts)])
    lengths = np.concatenate([np.zeros(0, np.int64), *(part.lengths for _, part in parts)])
    order = np.argsort(places, kind="stable")
    moved = np.concatenate(([0], np.cumsum(lengths[order])))
    targets = np.empty(len(order), np.int64)
    targets[order] = moved[:-1]
    ids, weights = np.empty(moved[-1], np.int32), np.empty(moved[-1], np.float32)
    first = 0
    for _, part in parts:
        into = ranges(targets[first : first + len(part.lengths)], part.lengths)
        ids[into], weights[into] = part.ids, part.weights
        first += len(part.lengths)
    named = [rows[place] for place in places[order]]
    return Rendered(
        ids=ids,
        weights=weights,
        offsets=moved.astype(np.int64),
        row_ids=tuple([row.id for row in named]),
        sources=tuple([row.source for row in named]),
        dropped=tuple(entry for each in slices for entry in each.dropped),
    )


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
    names = artefact.read_json(target / _NAMES)
    return Rendered(
        ids=arrays["ids"],
        weights=arrays["weights"],
        offsets=arrays["offsets"],
        row_ids=tuple(names["row_ids"]),
        sources=tuple(names["sources"]),
        dropped=tuple(Dropped(**entry) for entry in names["dropped"]),
    )
