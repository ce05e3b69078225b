"""The page of a snapshot: what came in and what was done to it, and what it becomes under the chosen base."""

import json
from itertools import islice
from pathlib import Path

from metier.core import artefact, seeds
from metier.core.progress import Progress
from metier.core.types import Row
from metier.prepare import summary, tokens
from metier.prepare.division import SPLITS
from metier.prepare.scale.counting import count_tokens
from metier.report.page import Chapter, Page
from metier.text import preferences
from metier.text.proof import paint
from metier.text.render import Renderer
from metier.text.rows import formats_of, lines, row_of

ROWS = "rows"
"""The chapter that is too long for a terminal."""

_SHOWN = 10


def page(
    snapshot: Path, base: str, renderer: Renderer | None, progress: Progress, *, workers: int = 1, both: bool = False
) -> Page:
    """Gather what there is to tell of a snapshot.

    Args:
        snapshot: its folder.
        base: the name of the base.
        renderer: of that base; without one nothing is told of tokens.
        progress: who hears of the counting.
        workers: processes that count, where there are many rows.
        both: preferences are learnt from both answers.

    Raises:
        DataError: there is no whole snapshot, or its rows cannot be learnt by a base.
    """
    chapters = []
    worse = ()
    if renderer is not None:
        counted = artefact.read(snapshot, "snapshot").facts["counts"]
        counts: dict[str, int] = {split: counted[split] for split in SPLITS}
        censuses = count_tokens(snapshot, counts, renderer, workers=workers, progress=progress, both=both)
        painted = preferences.painted if both else paint
        shown = [(row.source, painted(row, renderer)) for row in _drawn(snapshot, counts["train"])]
        worse = tokens.warnings(censuses["train"])
        told = tokens.report(censuses, base)
        chapters.append(Chapter(name="tokens", question=f"What is it for {base}?", report=told))
        chapters.append(Chapter(name=ROWS, question="How does the model read it?", report=tokens.painted(shown)))
    data = summary.report(snapshot, worse)
    chapters.insert(0, Chapter(name="data", question="What is in it, and what was done to it?", report=data))
    return Page(title="Snapshot", verdict=data.verdict, chapters=tuple(chapters), command="metier prepare")


def _drawn(snapshot: Path, count: int) -> list[Row]:
    """Return ten training rows, drawn at random but the same each time."""
    wanted = set(seeds.permutation(count, "rows of the page")[:_SHOWN].tolist()) if count else set()
    found, formats = islice(lines(snapshot, "train"), max(wanted, default=-1) + 1), formats_of(snapshot)
    return [
        row_of(json.loads(line), formats, f"{snapshot / 'train'}.jsonl:{number + 1}")
        for number, line in enumerate(found)
        if number in wanted
    ]
