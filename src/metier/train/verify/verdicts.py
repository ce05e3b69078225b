"""What a check found, and all of them as a Report; imports no torch."""

from dataclasses import dataclass

from metier.core.errors import VerificationError
from metier.core.report import Cell, Report, Table, Verdict

_NOTE = (
    "A gradient's difference is that of the weight where it is largest, as a share of that weight's gradient (at least"
    " of a thousandth of all). In float64 the model runs with every float32 inside the library computed in float64."
    " Adapters that start from zero are given small random numbers first; for gradients dropout is off."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One proof: `found` must not be above `bound` (both in `unit`). `found` None: these rows cannot tell, see why."""

    name: str
    found: float | None
    bound: float
    unit: str
    detail: str

    @property
    def good(self) -> bool | None:
        """Tell whether it holds; a number that is not one does not."""
        return None if self.found is None else self.found <= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """All checks, and what they looked at."""

    checks: tuple[Check, ...]
    facts: tuple[tuple[str, Cell], ...]

    @property
    def broken(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if check.good is False)

    def error(self) -> VerificationError | None:
        """Return what a breach is told with, or None."""
        if not self.broken:
            return None
        first = self.broken[0]
        return VerificationError(
            f"'{first.name}': {_number(first.found)} {first.unit} ({first.detail})",
            f"at most {_number(first.bound)}",
            "do not train with this version on this model; please report the table above",
        )


def report(verified: Verified) -> Report:
    """Tell the checks as a table, the answer first."""
    rows = tuple(_line(check) for check in verified.checks)
    columns = ("check", "holds", "found", "bound", "unit")
    looked = tuple((check.name, check.detail) for check in verified.checks)
    return Report(
        title="Verification of the engine",
        verdict=_verdict(verified),
        facts=verified.facts,
        tables=(
            Table(title="What was looked at", columns=("check", "detail"), rows=looked),
            Table(title="Checks", columns=columns, rows=rows, note=_NOTE),
        ),
        command="metier verify",
    )


def _verdict(verified: Verified) -> Verdict:
    if verified.broken:
        return Verdict(text=f"Broken: {', '.join(check.name for check in verified.broken)}.", good=False)
    silent = [check.name for check in verified.checks if check.good is None]
    if silent:
        return Verdict(text=f"All that could be looked at holds; not looked at: {', '.join(silent)}.", good=None)
    return Verdict(text="The engine computes what the plain step computes, on this model and these rows.", good=True)


def _line(check: Check) -> tuple[Cell, ...]:
    holds = {True: "yes", False: "NO", None: "cannot tell"}[check.good]
    return check.name, holds, _number(check.found), _number(check.bound), check.unit


def _number(value: float | None) -> str | None:
    return None if value is None else "0" if value == 0 else f"{value:.1e}"
