"""Tokens of a snapshot's rows, counted in several processes; the same numbers as in one."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from metier.core.progress import Progress
from metier.prepare.scale.pool import Pool
from metier.text.census import TOGETHER, Census, Part, counted, kept_of, part_of
from metier.text.formats import Recognised
from metier.text.render import Renderer, open_renderer
from metier.text.rendered import Rendering
from metier.text.rows import formats_of, lines, row_of
from metier.text.settings import TextSettings

WORTH_ROWS = 8 * TOGETHER
"""Fewer rows are through before other processes have started."""


class Slice(NamedTuple):
    """Lines of a file one after another, how many stand before them, and of how many sequences one is kept."""

    content: bytes
    name: str
    first: int
    every: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """All that has to be known to count: the base's folder and how it renders, how rows are read and how many are.

    `both`: preferences are learnt from both answers.
    """

    base: Path
    text: TextSettings
    formats: Mapping[str, Recognised]
    rows: int
    both: bool = False

    def opened(self) -> Callable[[Slice], Part]:
        """Return what counts a slice."""
        rendering = Rendering(open_renderer(self.base, self.text), self.rows)

        def count(piece: Slice) -> Part:
            rows = [
                row_of(json.loads(line), self.formats, f"{piece.name}:{number}")
                for number, line in enumerate(piece.content.split(b"\n")[:-1], piece.first + 1)
            ]
            return part_of(rows, rendering, piece.first, piece.every, both=self.both)

        return count


def count_tokens(
    snapshot: Path, counts: Mapping[str, int], renderer: Renderer, *, workers: int, progress: Progress,
    both: bool = False,
) -> dict[str, Census]:  # fmt: skip
    """Count the tokens of the parts of a snapshot.

    Args:
        snapshot: its folder.
        counts: how many rows each part has.
        renderer: of the base.
        workers: processes, where the rows are worth it.
        progress: who hears of it.
        both: preferences are learnt from both answers.

    Raises:
        DataError: there is no whole snapshot, or its rows cannot be learnt by a base.
        RunError: a process is gone.
    """
    found = {}
    rows = sum(counts.values())
    job = Counting(
        base=renderer.tokenizer.folder, text=renderer.settings, formats=formats_of(snapshot), rows=rows, both=both
    )  # fmt: skip
    with _opened(job, workers if rows >= WORTH_ROWS else 1) as run:
        for split, total in counts.items():
            with progress.task(f"counting tokens of {split}", total=total) as task:
                found[split] = counted(run(_slices(snapshot, split, kept_of(total))), renderer.limit, task)
    return found


@contextmanager
def _opened(job: Counting, workers: int) -> Iterator[Callable[[Iterable[Slice]], Iterator[Part]]]:
    """Open what works on slices."""
    if workers < 2:
        count = job.opened()
        yield lambda slices: map(count, slices)
        return
    with Pool(job, workers) as pool:
        yield pool.map


def _slices(snapshot: Path, split: str, every: int) -> Iterator[Slice]:
    stream, first = lines(snapshot, split), 0
    while chunk := list(islice(stream, TOGETHER)):
        yield Slice(b"".join(chunk), f"{snapshot / split}.jsonl", first, every)
        first += len(chunk)
