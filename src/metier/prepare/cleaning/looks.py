"""The second looks of cleaning: one pass over all rows for every rule that compares rows with each other."""

from collections.abc import Callable, Iterator
from typing import Protocol

from metier.core import extras
from metier.core.progress import Task
from metier.core.types import Reasoned, Row
from metier.prepare.cleaning.boilerplate import Boilerplate
from metier.prepare.cleaning.conflicts import Conflicts
from metier.prepare.cleaning.formats import Formats
from metier.prepare.cleaning.language import Languages
from metier.prepare.cleaning.lengths import Lengths
from metier.prepare.cleaning.mislabelled import Mislabelled
from metier.prepare.cleaning.seen import Seen
from metier.prepare.cleaning.settings import CleanSettings, Judgement
from metier.prepare.decisions import Decision
from metier.prepare.spool import Spool

EXTRA = "clean"
_NEED_EXTRA = ("language", "mislabelled")


class Observer(Protocol):
    """A rule that sees every living row once and then says what it found."""

    def see(self, number: int, row: Row) -> None:
        """Look at one row."""
        ...

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield what it found."""
        ...


def look(settings: CleanSettings, seen: Seen, task: Task) -> Callable[[Spool], Iterator[Decision]]:
    """Return the second look that the settings ask for.

    Args:
        settings: the rules.
        seen: is filled with what is learnt about the whole set.
        task: moves on by one a row.
    """

    def looked(spool: Spool) -> Iterator[Decision]:
        observers = _observers(settings, spool, seen)
        for number, row in enumerate(spool.rows()):
            if spool.alive[number]:
                for observer in observers:
                    observer.see(number, row)
            task.advance()
        for observer in observers:
            yield from observer.decisions(spool)

    return looked


def _observers(settings: CleanSettings, spool: Spool, seen: Seen) -> list[Observer]:
    rows, labelled = len(spool), bool((spool.places.labels >= 0).any())
    named: list[tuple[str, Judgement, Callable[[bool], Observer]]] = [
        ("language", settings.language, lambda drops: Languages(rows, settings.languages, seen, drops=drops)),
        ("lengths", settings.lengths, lambda drops: Lengths(rows, drops=drops)),
        ("formats", settings.formats, lambda drops: Formats(rows, drops=drops)),
    ]
    if settings.boilerplate != "off":
        named.append(("boilerplate", settings.boilerplate, lambda drops: Boilerplate(spool)))
    if labelled:
        named.append(("conflicts", settings.conflicts, lambda drops: Conflicts(rows, drops=drops)))
        named.append(("mislabelled", settings.mislabelled, lambda drops: Mislabelled(spool, seen, drops=drops)))
    return [make(mode == "drop") for name, mode, make in named if mode != "off" and _is_possible(name, mode, seen)]


def _is_possible(name: str, mode: Judgement, seen: Seen) -> bool:
    """Tell whether a rule's libraries are installed; a rule that only flags is left out without them, and that is told.

    Raises:
        MissingExtraError: they are not, and the rule is to drop rows.
    """
    if name not in _NEED_EXTRA or not extras.missing(EXTRA):
        return True
    if mode == "drop":
        extras.require(EXTRA)
    reason = f"{', '.join(extras.missing(EXTRA))} not installed: {extras.install_line(EXTRA)}"
    seen.choices.append(Reasoned(name=f"prepare.clean.{name}", value="off", reason=reason))
    return False
