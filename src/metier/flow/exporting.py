"""From a trained model to a folder that another server loads."""

from dataclasses import asdict, dataclass
from pathlib import Path

from metier.core import extras
from metier.core.report import Report, Verdict
from metier.flow.found import named, require_trained
from metier.project import Place
from metier.promote.export.kinds import Kind
from metier.promote.report import hop_table

EXPORTS = "exports"
"""Folder in a run of what was exported without naming another place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written where, and what was proven of it."""

    path: Path
    report: Report


def export(place: Place, name: str, kind: Kind, out: Path | None) -> Exported:
    """Write a run in the form that a server loads; it is loaded there and compared before it is published.

    Args:
        place: the project.
        name: a run's id or the beginning of it.
        kind: the form.
        out: the folder to make; None: `exports/KIND` in the run, from where versions take it along.

    Raises:
        ParityError: the target does not answer as the trained model does; nothing was published.
        InputError: there is no such run, it is not trained, has no such form, or something else stands at `out`.
    """
    found = named(place, name)
    require_trained(place, found)
    run, base = found.path, found.base
    extras.require("train")
    from metier.promote.export.run import export as write

    place.progress.say(f"export: {run.name} as {kind.value}")
    target = run / EXPORTS / kind.value if out is None else out
    path, hops = write(run, base, kind=kind, out=target, settings=place.project.promote, progress=place.progress)
    files = ", ".join(sorted(entry.name for entry in path.iterdir()))
    names = ", ".join(hop.name for hop in hops)
    note = "KL of the next token, trained model against the export as its target loads it, on the run's own rows."
    report = Report(
        title=f"{run.name} as {kind.value}",
        verdict=Verdict(text=f"What was exported answers as what was trained: {names}.", good=True),
        facts=(("base", base.name), ("files", files)),
        tables=(hop_table("As the target loads it", [asdict(hop) for hop in hops], note),),
        command="metier export",
    )
    return Exported(path=path, report=report)
