"""`metier advise`: what prompts, retrieval, plain classifiers and a quick training score, before anybody trains."""

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def advise(context: typer.Context, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Measure prompts, retrieval, plain classifiers and a quick training on validation rows; say what to do."""
    from metier import flow
    from metier.advise.report import read, report
    from metier.cli.desk import opened
    from metier.cli.output import put_page, put_path
    from metier.report.page import page_of

    with opened(context, project, as_json=json) as place:
        stage = flow.advise(place)
    facts = read(stage.path)
    put_page(page_of(report(facts)), {"folder": str(stage.path), "advice": facts}, as_json=json)
    if not json:
        put_path("Report", stage.path / "report.html")
        put_path("Settings", stage.path / "metier.yaml")
