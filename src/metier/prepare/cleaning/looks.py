"""The second looks of cleaning: one pass over all rows for every rule that compares rows with each other."""

from collections.abc import Callable, Iterator
from typing import Protocol

from metier.core.types import Row
from metier.prepare.cleaning.boilerplate import Boilerplate
from metier.prepare.cleaning.conflicts import Conflicts
from metier.prepare.cleaning.formats import Formats
from metier.prepare.cleaning.language import Languages
from metier.prepare.cleaning.lengths import Lengths
from metier.prepare.cleaning.mislabelled import Mislabelled
from metier.prepare.cleaning.seen import Seen
from metier.prepare.cleaning.settings import CleanSettings
from metier.prepare.decisions import Decision
from metier.prepare.spool import Spool


class Observer(Protocol):
    """A rule that sees every living row once and then says what it found."""

    def see(self, number: int, row: Row) -> None:
        """Look at one row."""
        ...

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield what it found."""
        ...


def look(settings: CleanSettings, seen: Seen) -> Callable[[Spool], Iterator[Decision]]:
    """Return the second look that the settings ask for.

    Args:
        settings: the rules.
        seen: is filled with what is learnt about the whole set.
    """

    def looked(spool: Spool) -> Iterator[Decision]:
        observers = _observers(settings, spool, seen)
        for number, row in enumerate(spool.rows()):
            if spool.alive[number]:
                for observer in observers:
                    observer.see(number, row)
        for observer in observers:
            yield from observer.decisions(spool)

    return looked


def _observers(settings: CleanSettings, spool: Spool, seen: Seen) -> list[Observer]:
    labelled = bool((spool.places.labels >= 0).any())
    known: tuple[tuple[bool, Callable[[], Observer]], ...] = (
        (settings.boilerplate != "off", lambda: Boilerplate(spool)),
        (settings.language != "off", lambda: Languages(len(spool), settings, seen)),
        (settings.lengths != "off", lambda: Lengths(len(spool), drops=settings.lengths == "drop")),
        (settings.conflicts != "off" and labelled, lambda: Conflicts(len(spool), drops=settings.conflicts == "drop")),
        (settings.formats != "off", lambda: Formats(len(spool), drops=settings.formats == "drop")),
        (settings.mislabelled != "off" and labelled, lambda: Mislabelled(spool, seen, drops=settings.mislabelled == "drop")),
    )
    return [make() for wanted, make in known if wanted]
