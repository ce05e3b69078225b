"""The second look for duplicates: clusters of rows that belong together, and which rows go because another says it."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from metier.prepare.decisions import Action, Decision, Decisions
from metier.prepare.duplicates.clusters import Clusters, equal_runs
from metier.prepare.duplicates.compared import compared
from metier.prepare.duplicates.near import near
from metier.prepare.duplicates.semantic import semantic
from metier.prepare.duplicates.settings import DedupeSettings, Keep, Outcome
from metier.prepare.places import ROLES, Places
from metier.prepare.spool import Spool
from metier.text.embeddings import FILES as EMBEDDING_FILES

_TRAIN = ROLES.index("train")
_RULES = ("near", "semantic")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Duplicates:
    """What was found: `clusters` int32 [N], the first row of each one's cluster.

    `decisions` yields what was decided, once, one by one: there may be as many as rows.
    """

    clusters: np.ndarray
    decisions: Iterator[Decision]


def embedding_files(settings: DedupeSettings, folder: Path) -> list[Path]:
    """Return the files of the embeddings that would be used: what comes out is a function of them, too."""
    if settings.semantic == "off":
        return []
    place = folder / Path(str(settings.embeddings)).expanduser()
    return [place / name for name in EMBEDDING_FILES if (place / name).is_file()]


def find(spool: Spool, settings: DedupeSettings, folder: Path) -> Duplicates:
    """Look for near and semantic duplicates among the rows that are alive.

    Args:
        spool: the rows.
        settings: what is looked for.
        folder: where relative names of the settings start from.

    Raises:
        DataError: the embeddings cannot be read.
    """
    alive = np.flatnonzero(spool.alive)
    clusters, decided = Clusters(len(spool)), list[Iterator[Decision]]()
    for rule, outcome in zip(_RULES, (settings.near, settings.semantic), strict=True):
        if outcome == "off" or not len(alive):
            continue
        with tempfile.TemporaryDirectory(dir=spool.path.parent) as scratch:
            if rule == "near":
                found = near(spool.shelves.compared(alive), Path(scratch), settings.likeness)
            else:
                rows = (compared(row) for row in spool.rows(alive))
                found = semantic(rows, folder / Path(str(settings.embeddings)).expanduser(), settings.semantic_likeness)
        copies = np.flatnonzero(found != np.arange(len(found), dtype=np.int32))
        pairs = np.stack([alive[found[copies]], alive[copies]], 1)
        decided.append(_decide(spool, pairs, rule, outcome, settings))
        clusters.join(pairs)
    return Duplicates(clusters=clusters.roots(), decisions=chain.from_iterable(decided))


def warnings(decisions: Decisions) -> Iterator[str]:
    """Say how many training rows have been flagged, all decisions of `find` among those that were written."""
    flagged = [kind for kind in decisions.counts if kind.rule in map(_rule, _RULES) and kind.action == "flag"]
    if flagged:
        yield (
            f"{sum(decisions.counts[kind] for kind in flagged):,} training row(s) nearly repeat a held-out row, which "
            f"makes the result look better (first: {decisions.examples[flagged[0]][0]}); prepare.dedupe.near: drop "
            "takes them out"
        )


def _rule(name: str) -> str:
    return f"duplicates.{name}"


def _decide(
    spool: Spool, pairs: np.ndarray, rule: str, outcome: Outcome, settings: DedupeSettings
) -> Iterator[Decision]:
    """Say which training rows go when duplicates are to be dropped; else note those that are like a held-out row.

    A synthetic row never takes the place of a real one. `pairs` int64 [P, 2] are the first row of a cluster and another
    one of it.
    """
    places, what = spool.places, "near-duplicate" if rule == "near" else "semantic duplicate"
    firsts = np.unique(pairs[:, 0])
    roots, rows = np.concatenate([firsts, pairs[:, 0]]), np.concatenate([firsts, pairs[:, 1]])
    order = np.lexsort((rows, roots))
    for begin, end in equal_runs(roots[order]):
        members = rows[order[begin:end]]
        held = members[places.roles[members] != _TRAIN]
        free = members[places.roles[members] == _TRAIN]
        if len(held):
            best, reason = held[0], f"{what} of a {ROLES[places.roles[held[0]]]} row"
        elif outcome == "drop":
            real = members[~places.synthetic[members]]
            free = members if settings.synthetic else real
            if len(free) < 2:
                continue
            first = real if len(real) else free
            best, reason = first[_best(places, first, settings.keep)], f"{what} of another row"
        else:
            continue
        for number in free[free != best].tolist():
            action: Action = "drop" if outcome == "drop" else "flag"
            yield spool.decision(number, _rule(rule), action, reason, f"like {places.source(int(best))}")


def _best(places: Places, members: np.ndarray, keep: Keep) -> int:
    """Return which of some rows stays, as a place among them; of equals the first."""
    if keep == "longest":
        return int(np.argmax(places.characters[members]))
    if keep == "newest":
        return int(np.argmax(np.nan_to_num(places.times[members], nan=-np.inf)))
    return len(members) - 1 if keep == "last" else 0
