"""What the stages of a life speak of: a stage that was taken, and the run that settings, data and base name."""

from dataclasses import dataclass, replace
from pathlib import Path

from metier.core import artefact, digest
from metier.core.errors import InputError
from metier.core.settings import Settings, build
from metier.flow.restoring import restore, run_behind
from metier.model.find import Base
from metier.model.settings import ModelSettings
from metier.project import Place, find_run, name_of, text_settings, train_settings
from metier.resolved import base_of, grader_by_content, replay_by_content, template_by_content
from metier.text.rows import snapshot_behind
from metier.text.settings import TextSettings
from metier.train.plan import TrainingPlan
from metier.train.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a stage left: `path`, and `skipped`, the reason why it had nothing to do ("" when it worked)."""

    name: str
    path: Path
    skipped: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run found: its folder (which may not exist yet) and what it is a function of."""

    path: Path
    snapshot: Path
    base: Base
    plan: TrainingPlan

    @property
    def id(self) -> str:
        """The run's name."""
        return self.path.name


def locate(place: Place, snapshot: Path, *, weights: bool = True) -> Run:
    """Find the run that the project's settings, data and base name; its folder may not exist yet.

    Without `weights`, for a plan, the base needs none; then it is a run of another name.

    Raises:
        ModelError: the base cannot be found or used.
        SettingsError: the chat template's file is missing.
    """
    project = place.project
    base = base_of(place, weights=weights)
    text = text_settings(place)
    plan = TrainingPlan(text=text, model=project.model, train=train_settings(place), seed=project.seed)
    named = plan if text.template == "auto" else replace(plan, text=template_by_content(text))
    named = replace(named, train=grader_by_content(replay_by_content(plan.train), place.folder))
    identity = named.run_digest(artefact.read(snapshot, "snapshot").digest, base.digest)
    path = place.runs / f"{name_of(project, place.folder)}-{identity[:8]}"
    if not project.name and not path.exists():  # the project's folder may have had another name
        path = next((one.parent for one in sorted(place.runs.glob(f"*-{identity[:8]}/settings.json"))), path)
    return Run(path=path, snapshot=snapshot, base=base, plan=plan)


def named(place: Place, name: str) -> Run:
    """Return a run that is there, by its id or the beginning of it, with the settings that it was trained with.

    That of a version (`support@7`) is restored from it where it is gone.

    Raises:
        InputError: there is no such run, or it was trained on another base than the project's.
    """
    path = found = find_run(place, name)
    if "@" in name:
        path = run_behind(place, name, found) or found
    if not (path / "settings.json").is_file():
        raise InputError(f"run {path.name}: never began to train", "a trained run", "`metier train`")
    facts = artefact.read_json(path / "settings.json")
    base, plan = base_of(place), facts["plan"]
    if base.digest != facts["base"]["digest"]:
        raise InputError(
            f"{_called(name, path)}: trained on {facts['base']['name']}, the project's base is {base.name}",
            "the same base", "name that base in metier.yaml",
        )  # fmt: skip
    where = f"{path.name}/settings.json"
    known = TrainingPlan(
        text=build(TextSettings, plan["text"], where),
        model=build(ModelSettings, plan["model"], where),
        train=build(TrainSettings, plan["train"], where),
        seed=plan["seed"],
    )
    if "@" in name and path == found:
        path = restore(place, name, found, base, known)
        facts = artefact.read_json(path / "settings.json")
    return Run(path=path, snapshot=snapshot_behind(path), base=base, plan=known)


def _called(name: str, run: Path) -> str:
    return name if "@" in name else f"run {run.name}"


def is_trained(run: Path) -> bool:
    """Tell whether a run was trained to its end."""
    return (run / "summary.json").is_file() and artefact.exists(run / "model", "model")


def require_trained(place: Place, run: Run) -> None:
    """Refuse a run that was not trained to its end, naming those that were."""
    if is_trained(run.path):
        return
    others = [path.name for path in sorted(place.runs.glob("*")) if is_trained(path)] if place.runs.is_dir() else []
    changed = f" (trained with other settings, data or base: {', '.join(others)})" if others else ""
    raise InputError(f"{run.id}: not trained yet{changed}", "a trained run", "`metier train`, or `metier run` for all")


def skip(place: Place, name: str, path: Path, reason: str) -> Stage:
    """Say that a stage has nothing to do, and why."""
    place.progress.say(f"{name}: {unchanged(reason)}".rstrip("; "))
    return Stage(name=name, path=path, skipped=reason)


def unchanged(reason: str) -> str:
    """Return how a line begins whose stage was skipped for this reason; nothing when there is none."""
    return f"skipped, {reason}; " if reason else ""


def key_of(run: Run, **sections: Settings) -> str:
    """Name what a stage's result is a function of, beside the code."""
    settings = {name: section.model_dump(mode="json") for name, section in sections.items()}
    model = artefact.read(run.path / "model", "model").digest
    return digest.of_value([settings, artefact.read(run.snapshot, "snapshot").digest, run.base.digest, model])
