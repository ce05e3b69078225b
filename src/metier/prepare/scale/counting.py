"""Tokens of a snapshot's rows, counted in several processes; the same numbers as in one."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from metier.core.progress import Task
from metier.prepare.scale.pool import Pool
from metier.text.census import TOGETHER, Census, Part, census, counted, kept_of, part_of
from metier.text.formats import Recognised
from metier.text.render import Renderer, open_renderer
from metier.text.rendered import FEWEST_ROWS, Rendering
from metier.text.rows import formats_of, iterate, lines, row_of
from metier.text.settings import TextSettings

WORTH_ROWS = 8 * TOGETHER
"""Fewer rows are through before other processes have started."""


class Slice(NamedTuple):
    """Lines of a split one after another, and how many stand before them."""

    content: bytes
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """All that has to be known to count: the base's folder and how it renders, and how rows are read.

    `every`: one sequence in so many is kept.
    """

    base: Path
    text: TextSettings
    formats: Mapping[str, Recognised]
    name: str
    every: int

    def opened(self) -> Callable[[Slice], Part]:
        """Return what counts a slice."""
        rendering = Rendering(open_renderer(self.base, self.text), FEWEST_ROWS)

        def count(piece: Slice) -> Part:
            rows = [
                row_of(json.loads(line), self.formats, f"{self.name}:{number}")
                for number, line in enumerate(piece.content.split(b"\n")[:-1], piece.first + 1)
            ]
            return part_of(rows, rendering, piece.first, self.every)

        return count


def count_tokens(snapshot: Path, split: str, renderer: Renderer, *, total: int, workers: int, task: Task) -> Census:
    """Count the tokens of one part of a snapshot.

    Args:
        snapshot: its folder.
        split: "train", "validation" or "test".
        renderer: of the base.
        total: its rows.
        workers: processes, where the rows are worth it.
        task: moves on by one a row.

    Raises:
        DataError: there is no whole snapshot, or its rows cannot be learnt by a base.
        RunError: a process is gone.
    """
    if workers < 2 or total < WORTH_ROWS:
        return census(iterate(snapshot, split), renderer, total=total, task=task)
    job = Counting(
        base=renderer.tokenizer.folder, text=renderer.settings, formats=formats_of(snapshot),
        name=f"{snapshot / split}.jsonl", every=kept_of(total),
    )  # fmt: skip
    with Pool(job, workers) as pool:
        return counted(pool.map(_slices(snapshot, split)), renderer.limit, task)


def _slices(snapshot: Path, split: str) -> Iterator[Slice]:
    stream, first = lines(snapshot, split), 0
    while chunk := list(islice(stream, TOGETHER)):
        yield Slice(b"".join(chunk), first)
        first += len(chunk)
