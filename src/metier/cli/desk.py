"""Where a command works: the project opened with the settings of the command line, the bars shown."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from metier.core.errors import SettingsError
from metier.core.progress import Progress, Silent
from metier.core.settings import Settings, model_in
from metier.core.table import nearest
from metier.flow import Run, Stage, locate, named, prepare
from metier.project import Place, Project, load
from metier.report.progress import open_progress


@contextmanager
def opened(context: typer.Context, folder: Path, *, as_json: bool) -> Iterator[Place]:
    """Open the project in `folder` with the settings of the command line laid over it; bars go to stderr.

    Raises:
        SettingsError: the project or an option cannot be used.
    """
    check_names(context.args, [name for parameter in context.command.params for name in parameter.opts])
    project = load(folder, context.args)
    with listening(as_json=as_json) as progress:
        yield Place(project=project, folder=folder, progress=progress)


@contextmanager
def listening(*, as_json: bool) -> Iterator[Progress]:
    """Open who listens to a command: bars on stderr for people, nobody for programs."""
    if as_json:
        yield Silent()
        return
    with open_progress(Console(stderr=True, highlight=False)) as progress:
        yield progress


def check_names(arguments: Sequence[str], options: Sequence[str]) -> None:
    """Check that every `--name` left over is a setting, so that a misspelt option is not taken for one.

    Raises:
        SettingsError: it is not; names the option or setting that was probably meant.
    """
    rest = list(arguments)
    while rest:
        name, equals, _ = rest.pop(0).partition("=")
        section = name.removeprefix("--").partition(".")[0].replace("-", "_")
        if name.startswith("-") and section not in Project.model_fields:
            close = _meant(name, options)
            raise SettingsError(
                f"option {name}: unknown",
                "an option of this command, or a setting such as --train.learning-rate 2e-4",
                f"did you mean {close}?" if close else "--help after the command lists its options",
            )
        if name.startswith("--") and not equals and rest:
            rest.pop(0)


def _meant(name: str, options: Sequence[str]) -> str | None:
    """Return the option or settings that were probably meant: `--learning-rate` means `--train.learning-rate`."""
    inner: dict[str, list[str]] = {}
    for path in _paths(Project):
        if "." in path:
            inner.setdefault(path.rpartition(".")[2], []).append(f"--{path}")
    last = name.lstrip("-").rpartition(".")[2].replace("_", "-")
    if last in inner:
        return " or ".join(inner[last])
    inside = nearest(last, inner)
    sections = [f"--{field}" for field in Project.model_fields]
    return nearest(name.partition(".")[0], [*options, *sections]) or (" or ".join(inner[inside]) if inside else None)


def _paths(kind: type[Settings], before: str = "") -> Iterator[str]:
    """Yield the name of every setting as it is written on a command line, `train.learning-rate`."""
    for name, field in kind.model_fields.items():
        path = before + name.replace("_", "-")
        yield path
        if section := model_in(field.annotation):
            yield from _paths(section, f"{path}.")


def stage_facts(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Return stages as plain values."""
    return [
        {
            "name": stage.name,
            "path": str(stage.path),
            "skipped": stage.skipped or None,
            "seconds": round(stage.seconds, 3),
        }
        for stage in stages
    ]


def run_of(place: Place, name: str | None) -> tuple[Run, tuple[Stage, ...]]:
    """Return the run of this name, or that of the project's settings with the stage that prepared its data.

    Raises:
        InputError: there is no such run.
    """
    if name is not None:
        return named(place, name), ()
    prepared = prepare(place)
    return locate(place, prepared.path), (prepared,)
