"""What a project names, found: its base, files by their content where a run is named, what advise measures."""

from collections.abc import Sequence
from pathlib import Path

from metier.advise.settings import AdviseSettings
from metier.core import digest, settings
from metier.model.find import Base, find, find_config
from metier.project import BaseFromConfig, Place, read_file
from metier.text.settings import TextSettings
from metier.train import general
from metier.train.settings import TrainSettings

_ADVISE = "advise.yaml"


def base_of(place: Place) -> Base:
    """Find the base that a project names."""
    chosen = place.project.base
    if isinstance(chosen, BaseFromConfig):
        return find_config(chosen.config, place.folder)
    return find(chosen, place.folder)


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


def advise_settings(folder: Path, arguments: Sequence[str]) -> tuple[AdviseSettings, list[str]]:
    """Read what `metier advise` measures: `advise.yaml` beside metier.yaml, if it is there, and `--advise.name value`.

    Returns:
        The settings, and the arguments that are not about them.

    Raises:
        SettingsError: an unknown name, or a value out of range.
    """
    ours: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        entry = left.pop(0)
        mine = ours if entry.startswith("--advise.") else rest
        mine.append(entry)
        if mine is ours and "=" not in entry and left:
            ours.append(left.pop(0))
    path = folder / _ADVISE
    values = read_file(path) if path.is_file() else {}
    laid_over = settings.parse_overrides(ours).get("advise", {})
    return settings.build(AdviseSettings, settings.merge(values, laid_over), _ADVISE), rest
