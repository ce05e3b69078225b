"""`metier frontier`: between base and tuned model, how much to keep."""

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def frontier(context: typer.Context, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Measure the task and what was forgotten between base and tuned model, and recommend a scale."""
    from metier import flow
    from metier.cli.desk import opened
    from metier.cli.output import put_page, put_path
    from metier.core import extras
    from metier.core.errors import InputError
    from metier.report.page import page_of

    extras.require("train")
    from metier.evaluate import frontier as measured

    with opened(context, project, as_json=json) as place:
        run = flow.locate(place, flow.prepare(place).path)
        if not flow.is_trained(run.path):
            raise InputError(f"run {run.id}: not trained yet", "a trained run", "metier train")
        path = measured.measure(
            run.snapshot, run.base, run.path,
            text=run.plan.text, settings=place.project.evaluate, progress=place.progress,
        )  # fmt: skip
    put_page(page_of(measured.report(run.path)), {"run": run.id, "folder": str(path)}, as_json=json)
    if not json:
        put_path("Frontier", path)
