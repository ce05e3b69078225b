"""`metier gate`: is the model good enough to go on? Exits 1 when it is not."""

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder, RunId


def gate(
    context: typer.Context,
    run: RunId = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Also write the conditions as JUnit XML.")
    ] = None,
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Hold a run's evaluation against `gate:` in metier.yaml; exits 1 and names what does not hold."""
    from metier import flow
    from metier.cli.desk import opened
    from metier.cli.output import put_page
    from metier.core import artefact
    from metier.core.errors import GateError
    from metier.evaluate import against, stored
    from metier.evaluate.gate import decide
    from metier.project import find_run
    from metier.report.page import page_of

    with opened(context, project, as_json=json) as place:
        path = find_run(place, run) if run is not None else flow.locate(place, flow.prepare(place).path).path
        found = decide.conditions(stored.read(path).facts, place.project.gate, against.read(path))
    name = run if run is not None and "@" in run else path.name
    report = decide.report(name, found)
    if junit is not None:
        artefact.write_file(junit, decide.junit(name, found))
    facts = {"run": name, "open": report.verdict.good}
    put_page(page_of(report), facts, as_json=json)
    if not report.verdict.good and not json:
        raise GateError(f"the gate is {report.verdict.text}", "every condition of `gate:` in metier.yaml")
    if not report.verdict.good:
        raise typer.Exit(1)
