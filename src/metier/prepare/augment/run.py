"""The one function of this folder: training rows → changed copies whose answers still hold → a file of marked rows."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from metier.core import artefact, extras, seeds
from metier.core.errors import InputError
from metier.core.progress import Progress
from metier.core.report import Example, Report, Table, Verdict
from metier.core.types import Row
from metier.prepare.augment.settings import AugmentSettings, Way
from metier.prepare.augment.swap import SWAPPED, pools, swapped
from metier.prepare.augment.wording import with_other_case, with_other_order, with_typos, words_of
from metier.prepare.made import Columns, made_line
from metier.prepare.protect.detect import detector
from metier.prepare.synthesise.quality import Measure, fault, measure
from metier.prepare.synthesise.task import Task, task_of, with_input
from metier.text.builders import identity
from metier.text.rows import load_split

_EXAMPLES = 4
_EXTRA = "protect"


class Copy(NamedTuple):
    """A changed row, the row it was made from, and how."""

    row: Row
    origin: Row
    way: Way


@dataclass(slots=True)
class Augmentation:
    """What came of it: copies by way, and why others were not made."""

    output: Path
    rows_in: int
    copies: list[Copy] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


def augment(
    snapshot: Path,
    settings: AugmentSettings,
    *,
    folder: Path,
    seed: int,
    columns: Columns,
    progress: Progress,
) -> Augmentation:
    """Make changed copies of the training rows of a snapshot and write them; validation and test rows are never used.

    Args:
        snapshot: what `prepare` left.
        settings: which ways, how often.
        folder: what `output` is relative to.
        seed: of what is drawn; each copy is a function of seed, row, way and its number.
        columns: `prepare.columns`.
        progress: hears how far it is.

    Raises:
        InputError: there are no training rows that a program has not made.
        MissingExtraError: values are to be swapped and the detectors' libraries are not installed.
    """
    rows = [row for row in load_split(snapshot, "train") if not row.synthetic]
    if not rows:
        raise InputError("no training rows to copy", "rows of data.train")
    taken = {identity(row) for split in ("train", "validation", "test") for row in load_split(snapshot, split)}
    like = measure(tasks) if (tasks := [task for row in rows if (task := task_of(row)) is not None]) else None
    result = Augmentation(folder / settings.output, len(rows))
    with progress.task("augmenting", total=len(settings.ways)) as bar:
        for way in settings.ways:
            for copy in _copies(way, rows, settings, seed):
                _enter(copy, like, taken, result)
            bar.advance(1)
    if settings.rows is not None:
        order = seeds.permutation(len(result.copies), seed, "augment")[: settings.rows]
        result.copies = [result.copies[place] for place in sorted(order)]
    lines = (made_line(copy.row, {"method": copy.way}, [copy.origin.source], columns) for copy in result.copies)
    artefact.write_file(result.output, "".join(lines))
    return result


def _copies(way: Way, rows: Sequence[Row], settings: AugmentSettings, seed: int) -> Iterator[Copy]:
    change = _swapping(rows) if way == "swap" else _rewording(way, settings)
    for row in rows:
        for number in range(settings.copies):
            yield Copy(change(row, seed, number), row, way)


Change = Callable[[Row, int, int], Row]


def _swapping(rows: Sequence[Row]) -> Change:
    extras.require(_EXTRA)
    find = detector(SWAPPED)
    known = pools(rows, find)
    return lambda row, seed, number: swapped(row, find, known, seeds.generator(seed, "swap", row.id, number))


def _rewording(way: Way, settings: AugmentSettings) -> Change:
    """Return the change of a question's wording; words of the answer are left alone, for it may quote them."""

    def change(row: Row, seed: int, number: int) -> Row:
        task = task_of(row)
        if task is None:
            return row
        random = seeds.generator(seed, way, row.id, number)
        keep = words_of(task.answer)
        if way == "typos":
            text = with_typos(task.input, settings.typo_share, keep, random)
        else:
            text = (
                with_other_order(task.input, random) if way == "reorder" else with_other_case(task.input, keep, random)
            )
        return row if text == task.input else with_input(task, text)

    return change


def _enter(copy: Copy, like: Measure | None, taken: set[str], result: Augmentation) -> None:
    if copy.row is copy.origin or copy.row == copy.origin:
        result.reasons[f"{copy.way}: nothing in it to change"] += 1
        return
    task = task_of(copy.row)
    wrong = fault(copy.row, like) if like is not None and task is not None and not _faulty(copy.origin, like) else ""
    name = identity(copy.row)
    if wrong or name in taken:
        result.reasons[f"{copy.way}: {wrong or 'the same as a row that is there'}"] += 1
        return
    taken.add(name)
    result.copies.append(copy)


def _faulty(row: Row, like: Measure) -> bool:
    """Tell whether the real row would not pass itself: then its copies are not judged by what it is not."""
    return task_of(row) is None or bool(fault(row, like))


def report(result: Augmentation, settings: AugmentSettings) -> Report:
    """Tell what was made, what not and why, with some to read."""
    ways = Counter(copy.way for copy in result.copies)
    not_made = tuple((reason, count) for reason, count in result.reasons.most_common())
    tables = [Table(title="Made", columns=("way", "rows"), rows=tuple((way, ways[way]) for way in settings.ways))]
    if not_made:
        tables.append(Table(title="Not made", columns=("reason", "rows"), rows=not_made))
    shown = {copy.way: copy for copy in reversed(result.copies)}
    return Report(
        title="Augmentation",
        verdict=Verdict(text=f"{len(result.copies):,} rows made of {result.rows_in:,}", good=bool(result.copies)),
        facts=(
            ("file", settings.output),
            ("to train on it", f"add {settings.output} to data.train; it never comes into validation or test"),
        ),
        tables=tuple(tables),
        examples=tuple(_example(copy) for copy in list(shown.values())[:_EXAMPLES]),
        command="metier augment",
    )


def _example(copy: Copy) -> Example:
    before, after = _task(copy.origin), _task(copy.row)
    return Example(
        source=copy.origin.source, prompt=before.input, reference=before.answer,
        outputs=((copy.way, after.input), ("answer", after.answer)), note=copy.way,
    )  # fmt: skip


def _task(row: Row) -> Task:
    return task_of(row) or Task(row, "(a row with tools or several answers)", "")
