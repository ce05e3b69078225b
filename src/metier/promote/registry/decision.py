"""Whether a run may become a version: the gate, parity and licences, each condition with what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.errors import GateError, InputError
from metier.promote import report as parity
from metier.promote.registry.licences import Obligations


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition of promotion: whether it holds, and what was found, in words."""

    name: str
    holds: bool
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was asked, and `despite`: why somebody promoted it though the answer was no ("" when nobody had to)."""

    conditions: tuple[Condition, ...]
    despite: str = ""

    @property
    def against(self) -> tuple[Condition, ...]:
        """The conditions that do not hold."""
        return tuple(condition for condition in self.conditions if not condition.holds)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"answer": "no" if self.against else "yes", **asdict(self)}


def decide(run: Path, gate: Sequence[Condition], obligations: Obligations, despite: str | None) -> Decision:
    """Ask gate, parity and licences whether a run may be promoted.

    Args:
        run: the run, or a version, with its evaluation and its certificate.
        gate: what the gate found.
        obligations: what the licences ask.
        despite: the reason to promote it all the same; None: there is none.

    Raises:
        GateError: the answer is no, and no reason was given to do it all the same.
        DataError: the run has no certificate of parity.
    """
    verdict = parity.verdict(parity.read(run))
    conditions = (
        *gate,
        Condition(name="parity", holds=verdict.good is not False, told=verdict.text),
        Condition(
            name="licences", holds=not obligations.against,
            told="; ".join(obligations.against) or f"base {obligations.base}, data {obligations.data}",
        ),
    )  # fmt: skip
    decision = Decision(conditions=conditions)
    if decision.against and despite is None:
        told = "; ".join(f"{condition.name}: {condition.told}" for condition in decision.against)
        raise GateError(
            f"not promoted: {told}", "a run that holds to all of it",
            "train a better one; --despite REASON promotes it all the same and keeps the reason",
        )  # fmt: skip
    return Decision(conditions=conditions, despite=(despite or "") if decision.against else "")


def require_current(run: Path, evaluation: Mapping[str, Any]) -> None:
    """Check that the model in a run is whole and is the one that was evaluated and proven.

    Raises:
        DataError: a file of the model was changed, or the run has no certificate of parity.
        InputError: another model was evaluated or proven.
    """
    model = artefact.verify(run / "model", "model").digest
    judged = {"evaluated": evaluation["conditions"]["tuned"]["digest"], "proven": parity.read(run).get("model")}
    for word, found in judged.items():
        if found != model:
            raise InputError(f"{run.name}: another model was {word} than stands in it", "this one", _AGAIN)


_AGAIN = "delete evaluation/ and parity/ in the run, then metier run"
