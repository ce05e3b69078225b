"""`metier prepare`: files become a snapshot; `--show` paints what of a row is learnt."""

from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


class Where(StrEnum):
    """What `--on` takes."""

    HERE = "here"
    RAY = "ray"


def prepare(
    context: typer.Context,
    project: ProjectFolder = HERE,
    show: Annotated[
        int, typer.Option("--show", min=0, metavar="N", help="Also render N rows and colour what the model learns.")
    ] = 0,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option("--diff", metavar="A B", help="Prepare nothing; compare two snapshots row by row."),
    ] = None,
    on: Annotated[
        Where | None, typer.Option("--on", help="Where rows are worked on: on this machine, or on a Ray cluster.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Read, check, de-duplicate and split the data into a snapshot, and report every row in and out."""
    from metier import flow
    from metier.cli.desk import opened
    from metier.cli.output import out, put_page, put_path
    from metier.cli.painted import as_dict, put_painted
    from metier.prepare import difference
    from metier.prepare.page import ROWS
    from metier.report.page import page_of

    context.args += ["--prepare.further.run-on", on.value] if on is not None else []
    with opened(context, project, as_json=json) as place:
        if diff is not None:
            before, now = (difference.locate(name, place.store) for name in diff)
            put_page(page_of(difference.report(before, now)), {"before": before, "now": now}, as_json=json)
            return
        stage = flow.prepare(place)
        page = flow.page_of_data(place, stage.path)
        written = flow.write_data_page(place, stage.path, page)
        shown = flow.show(place, flow.locate(place, stage.path), show) if show else None
    facts: dict[str, Any] = {"snapshot": str(stage.path), "page": str(written), "skipped": stage.skipped or None}
    if shown is not None:
        facts["shown"] = as_dict(shown)
    chapters = tuple(chapter for chapter in page.chapters if chapter.name != ROWS or json)
    put_page(replace(page, chapters=chapters), facts, as_json=json)
    if not json:
        put_path("Snapshot", stage.path)
        put_path("Page", written)
    if shown is None:
        return
    if not json:
        put_painted(shown, out())
        shown.proof.raise_if_broken()
    elif not shown.proof.ok:
        raise typer.Exit(2)
