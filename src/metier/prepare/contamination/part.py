"""Takes training rows with a leak out of training, or lists them."""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from metier.prepare.contamination.find import Leak, find
from metier.prepare.contamination.settings import ContaminationSettings
from metier.prepare.decisions import Decision
from metier.prepare.division import TEST, TRAIN, Division, Gone
from metier.prepare.spool import Spool

RULE = "contamination"


def part_leaks(
    spool: Spool, division: Division, settings: ContaminationSettings, folder: Path, kept: Collection[str]
) -> Iterator[Decision]:
    """Drop leaking rows from the division when that is asked for; yield a remark for each that stays.

    Args:
        spool: all rows.
        division: their splits.
        settings: what a leak is, and what becomes of it.
        folder: where relative names of the settings start from.
        kept: sources and ids of rows that no rule may drop.

    Raises:
        DataError: a named file cannot be read, or no training row is left.
    """
    train, test = (np.flatnonzero(division.splits == split) for split in (TRAIN, TEST))
    leaks = find(spool, train, test, settings, folder)
    if not leaks:
        return
    division.warnings.append(
        f"{len(leaks):,} training row(s) share {settings.words} words in a row, or a whole question, with a held-out "
        f"text (first: {spool.places.source(leaks[0].number)}, like {leaks[0].source})"
        + ("; prepare.contamination.action: drop takes them out" if settings.action == "flag" else "; dropped")
    )
    for leak in leaks:
        spared = spool.places.source(leak.number) in kept or spool.places.id(leak.number) in kept
        if settings.action == "drop" and not spared:
            gone = np.array([leak.number])
            division.drop(Gone(gone, _reason(leak), f"like {leak.source}", rule=RULE))
        else:
            yield spool.decision(leak.number, RULE, "flag", _reason(leak), f"like {leak.source}")


def _reason(leak: Leak) -> str:
    return f"shares words with a {'benchmark' if leak.benchmark else 'test'} row"
