"""`metier frontier`: between base and tuned model, how much to keep."""

from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder, RunId

_APPLY = "Write the model at the recommended scale as a run of its own, and prove it."
_SCALE = "Write the model at this scale instead; the frontier is not measured."


def frontier(
    context: typer.Context,
    run: RunId = None,
    apply: Annotated[bool, typer.Option("--apply", help=_APPLY)] = False,
    scale: Annotated[float | None, typer.Option("--scale", metavar="SCALE", help=_SCALE)] = None,
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Measure the task and what was forgotten between base and tuned model, and recommend a scale."""
    from metier import flow
    from metier.cli.desk import opened, run_of, stage_facts
    from metier.cli.output import put_page, put_path
    from metier.promote.report import report
    from metier.report.page import page_of

    with opened(context, project, as_json=json) as place:
        found, _ = run_of(place, run)
        told = None if scale is not None else flow.frontier(place, found)
        if told is not None and not (apply and told.verdict.good):
            path, facts = found.path / "frontier", {"run": found.id}
        else:
            made, stage = flow.rescale(place, found, scale)
            proven = flow.prove(place, made)
            path, facts = made.path, {"run": made.id, "of": found.id, "stages": stage_facts((stage, proven))}
            told = told or report(made.path)
    put_page(page_of(told), facts | {"folder": str(path)}, as_json=json)
    if not json:
        put_path("Run" if "of" in facts else "Frontier", path)
