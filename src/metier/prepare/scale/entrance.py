"""Where the rows of all pieces come together, in order: copies are told here, and what is left enters the spool."""

from dataclasses import dataclass

from metier.core.types import Dropped
from metier.prepare.candidate import Candidate, Role
from metier.prepare.cleaning.glance import Growing
from metier.prepare.decisions import Decisions
from metier.prepare.duplicates.exact import Exact
from metier.prepare.places import entry_of
from metier.prepare.protect.stage import Guard
from metier.prepare.scale.work import Made, Outcome, written
from metier.prepare.spool import Filling


@dataclass(frozen=True, slots=True)
class Entrance:
    """Lets rows into the spool and writes what was decided about them; `guard` numbers groups that had names."""

    filling: Filling
    decisions: Decisions
    exact: Exact
    guard: Guard | None
    looked: Growing

    def let_in(self, outcome: Outcome) -> None:
        """Take the rows of a piece."""
        kept, place = list[int](), 0
        for item in outcome.items:
            if isinstance(item, Dropped):
                self.decisions.add_drop(item)
                continue
            if self._enters(item, outcome.role):
                kept.append(place)
            place += 1
        if len(outcome.sheaf.table):
            self.filling.shelve(outcome.sheaf, kept)

    def _enters(self, made: Made, role: Role) -> bool:
        entry = made.entry
        judged = self.exact.judge(entry.id, entry.source, role, spared=made.spared)
        if isinstance(judged, Dropped):
            self.decisions.add_drop(judged)
            return False
        line = made.line
        if made.row is not None and self.guard is not None:
            row = self.guard.settled(made.row)
            line, entry = written(Candidate(row, "", {}, role)), entry_of(row)
        if not line:
            self.decisions.add_drop(Dropped(source=entry.source, reason="half a character (a lone surrogate)"))
            return False
        if judged != entry.id:  # the id stands first in the line
            line = line.replace(entry.id.encode(), judged.encode(), 1)
            entry = entry._replace(id=judged)
        self.filling.add(line, entry, role)
        self.looked.add(made.glance)
        for decision in made.decisions:
            self.decisions.add(decision)
        return True
