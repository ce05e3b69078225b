"""`metier verify`: the proof that the engine computes what the plain step computes."""

from typing import Any

import typer

from metier.cli.boundary import as_dict
from metier.cli.options import HERE, AsJson, ProjectFolder


def verify(context: typer.Context, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Prove on your own model and rows that training computes what plain PyTorch computes; trains nothing."""
    from metier import flow
    from metier.cli.desk import opened, stage_facts
    from metier.cli.output import put_json, put_page
    from metier.report.page import page_of
    from metier.train.verify.verdicts import report

    with opened(context, project, as_json=json) as place:
        prepared = flow.prepare(place)
        verified = flow.verify(place, flow.locate(place, prepared.path))
    page, broken = page_of(report(verified)), verified.error()
    if not json:
        put_page(page, {}, as_json=False)
        if broken is not None:
            raise broken
        return
    facts: dict[str, Any] = {"stages": stage_facts((prepared,)), "checks": verified.checks, "report": page}
    put_json(facts if broken is None else facts | {"error": as_dict(broken)})
    if broken is not None:
        raise typer.Exit(broken.exit_code)
