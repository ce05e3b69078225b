"""The second looks of cleaning: the rules that compare rows with each other."""

from collections.abc import Callable, Iterator
from typing import Protocol

from metier.core import extras
from metier.core.types import Reasoned
from metier.prepare.cleaning.boilerplate import Boilerplate
from metier.prepare.cleaning.conflicts import Conflicts
from metier.prepare.cleaning.formats import Formats
from metier.prepare.cleaning.glance import Looked
from metier.prepare.cleaning.language import Languages
from metier.prepare.cleaning.lengths import Lengths
from metier.prepare.cleaning.mislabelled import Mislabelled
from metier.prepare.cleaning.seen import Seen
from metier.prepare.cleaning.settings import CleanSettings, Judgement
from metier.prepare.decisions import Decision
from metier.prepare.spool import Spool

EXTRA = "clean"
_NEED_EXTRA = ("language", "mislabelled")


class Judge(Protocol):
    """A rule that compares rows with each other."""

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield what it found."""
        ...


def tells_languages(settings: CleanSettings) -> bool:
    """Tell whether languages are looked at: the rule is on, and its libraries are installed."""
    return settings.language != "off" and not extras.missing(EXTRA)


def look(settings: CleanSettings, looked: Looked, seen: Seen) -> Callable[[Spool], Iterator[Decision]]:
    """Return the second look that the settings ask for.

    Args:
        settings: the rules.
        looked: what was told of every row when it was read.
        seen: is filled with what is learnt about the whole set.
    """

    def judged(spool: Spool) -> Iterator[Decision]:
        for judge in _judges(settings, spool, looked, seen):
            yield from judge.decisions(spool)

    return judged


def _judges(settings: CleanSettings, spool: Spool, looked: Looked, seen: Seen) -> list[Judge]:
    labelled = bool((spool.places.labels >= 0).any())
    forms = looked.kinds, looked.kind_names, looked.names, looked.spellings
    named: list[tuple[str, Judgement, Callable[[bool], Judge]]] = [
        ("language", settings.language, lambda drops: Languages(looked, settings.languages, seen, drops=drops)),
        ("lengths", settings.lengths, lambda drops: Lengths(looked, drops=drops)),
        ("formats", settings.formats, lambda drops: Formats(*forms, drops=drops)),
    ]
    if settings.boilerplate != "off":
        named.append(("boilerplate", settings.boilerplate, lambda drops: Boilerplate(looked.lines & spool.alive)))
    if labelled:
        named.append(("conflicts", settings.conflicts, lambda drops: Conflicts(looked, drops=drops)))
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
