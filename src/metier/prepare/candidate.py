"""A row on its way from its file to the snapshot, and the steps that may change, flag or drop it there."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from metier.core.types import Dropped, Row
from metier.prepare.decisions import Action, Decision
from metier.text.builders import identity
from metier.text.rows import line_of

Role = Literal["train", "validation", "test"]
"""What a file was named as, and what a split is called."""


class Candidate(NamedTuple):
    """A row on its way, with the record that it was read from and what its file was named as.

    A row that a stage has changed no longer has that record: then `text` is "" and `value` is empty. `spared` rows are
    those of `prepare.keep`: whatever a rule says of them, they go on as they were read.
    """

    row: Row
    text: str
    value: Mapping[str, Any]
    role: Role
    spared: bool = False
    decisions: tuple[Decision, ...] = ()

    def changed(self, row: Row, rule: str, reason: str, detail: str = "") -> "Candidate":
        """Return the candidate with another row, which gets the id of its content; one that is spared stays."""
        if self.spared:
            return self
        noted = (*self.decisions, self._decision(rule, "change", reason, detail))
        return self._replace(row=replace(row, id=identity(row)), text="", value={}, decisions=noted)

    def flagged(self, rule: str, reason: str, detail: str = "") -> "Candidate":
        """Return the candidate with a remark."""
        return self._replace(decisions=(*self.decisions, self._decision(rule, "flag", reason, detail)))

    def dropped(self, rule: str, reason: str, detail: str = "") -> "Candidate | Dropped":
        """Return what stands for the candidate when it is dropped: itself, if it is spared."""
        if self.spared:
            return self
        return Dropped(source=self.row.source, reason=reason, detail=detail, rule=rule, row_id=self.row.id)

    def line(self) -> str:
        """Return the line of the snapshot: the row as it was read behind its id, or in canonical form."""
        return line_of(self.row, self.value if self.text else None, self.text)

    def _decision(self, rule: str, action: Action, reason: str, detail: str) -> Decision:
        return Decision(
            source=self.row.source, row_id=self.row.id, rule=rule, action=action, reason=reason, detail=detail
        )


Stage = Callable[[Iterable[Candidate | Dropped]], Iterator[Candidate | Dropped]]
"""One step between reading and the spool. It passes on every item it is given, or a `Dropped` in its place."""
