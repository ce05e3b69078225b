"""`metier augment`: more training rows by rule, without a model."""

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def augment(context: typer.Context, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Write changed copies of the training rows to a file: slips, case, order, swapped names; answers stay right."""
    from metier import flow
    from metier.cli.desk import opened
    from metier.cli.output import put_page, put_path
    from metier.prepare.augment.run import augment as copy_rows
    from metier.prepare.augment.run import report
    from metier.report.page import page_of

    with opened(context, project, as_json=json) as place:
        prepared = flow.prepare(place)
        settings = place.project.prepare.further.augment
        result = copy_rows(
            prepared.path, settings, folder=place.folder, seed=place.project.seed,
            columns=place.project.prepare.columns, progress=place.progress,
        )  # fmt: skip
    facts = {"output": str(result.output), "rows": len(result.copies)}
    put_page(page_of(report(result, settings)), facts, as_json=json)
    if not json:
        put_path("Rows", result.output)
