"""`metier sweep`: search settings by the validation loss."""

import json as notation

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def sweep(context: typer.Context, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Search settings by successive halving on the validation loss, and recommend some.

    A list or a range in place of a value is searched: --train.learning-rate 1e-4..1e-2 --model.rank "[8, 32]".
    """
    from metier import flow
    from metier.cli.desk import opened, stage_facts
    from metier.cli.output import out, put_page, put_path
    from metier.report.page import page_of
    from metier.train.sweep.report import recipe, report
    from metier.train.sweep.space import take_out

    context.args, over = take_out(context.args)
    if over:
        context.args += ["--sweep.over", notation.dumps(over)]
    with opened(context, project, as_json=json) as place:
        prepared = flow.prepare(place)
        searched = flow.sweep(place, prepared.path)
    lines = recipe(searched.path)
    facts = {"sweep": str(searched.path), "recipe": lines, "stages": stage_facts((prepared, searched))}
    put_page(page_of(report(searched.path)), facts, as_json=json)
    if not json:
        if lines:
            out().print(f"For metier.yaml:\n\n{lines}", markup=False, highlight=False)
        put_path("Sweep", searched.path)
