"""What a project names, found: its base, and files by their content where a run is named."""

from pathlib import Path

from metier.core import digest
from metier.model.find import Base, find, find_config
from metier.project import BaseFromConfig, Place
from metier.score.graders.own import Checker, Code, Schema
from metier.text.settings import TextSettings
from metier.train import general
from metier.train.settings import TrainSettings


def base_of(place: Place, *, weights: bool = True) -> Base:
    """Find the base that a project names; without `weights` its configuration and tokenizer are enough."""
    chosen = place.project.base
    if isinstance(chosen, BaseFromConfig):
        return find_config(chosen.config, place.folder)
    return find(chosen, place.folder, weights=weights)


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


def grader_by_content(train: TrainSettings, folder: Path) -> TrainSettings:
    """Name the file of the grader that gives rewards by its content: another function makes another run."""
    settings = train.objective.reinforce
    match settings.grader:
        case Checker(path=name) | Schema(path=name):
            field = "path"
        case Code(tests=name) if name != "reference":
            field = "tests"
        case _:
            return train
    if not (folder / name).is_file():
        return train  # the training says what is missing
    grader = settings.grader.model_copy(update={field: digest.of_file(folder / name)})
    objective = train.objective.model_copy(update={"reinforce": settings.model_copy(update={"grader": grader})})
    return train.model_copy(update={"objective": objective})
