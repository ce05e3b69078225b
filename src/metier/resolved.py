"""What a project names, found: its base, and files by their content where a run is named."""

from dataclasses import replace
from pathlib import Path

from metier.core import digest
from metier.core.errors import ModelError
from metier.model.find import Base, find, find_config, read_json
from metier.project import BaseFromConfig, Place
from metier.text.settings import TextSettings
from metier.train import general
from metier.train.settings import TrainSettings


def base_of(place: Place) -> Base:
    """Find the base that a project names."""
    chosen = place.project.base
    if isinstance(chosen, BaseFromConfig):
        return find_config(chosen.config, place.folder)
    return find(chosen, place.folder)


def base_of_run(run: Path, folder: Path) -> Base:
    """Find the base that a run was trained on, whatever the project names now.

    Args:
        run: its folder.
        folder: the project's.

    Raises:
        ModelError: it is gone, or another one stands there.
    """
    named = read_json(run / "settings.json")["base"]
    if named["kind"] == "config":
        return Base(name=named["name"], folder=Path(named["folder"]), kind="config", digest=named["digest"])
    base = find(named["folder"] if named["kind"] == "folder" else named["name"], folder)
    if base.digest != named["digest"]:
        raise ModelError(
            f"base {named['name']}: changed since {run.name} was trained on it", f"the one of {named['digest'][:8]}"
        )
    return replace(base, name=named["name"])


def template_by_content(text: TextSettings) -> TextSettings:
    """Name the template by its content: editing the file makes another run, moving it does not."""
    return text.model_copy(update={"template": digest.of_file(Path(text.template))})


def replay_by_content(train: TrainSettings) -> TrainSettings:
    """Name general rows by their content, bundled ones too: other rows make another run."""
    if not train.regularise.replay:
        return train
    path = general.path_of(train.regularise)
    regularise = train.regularise.model_copy(update={"replay_file": digest.of_file(path)})
    return train.model_copy(update={"regularise": regularise})
