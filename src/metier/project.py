"""A project: `metier.yaml` and what was laid over it on the command line, as one strict value; imports no torch."""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field

from metier.advise.settings import AdviseSettings
from metier.core import artefact, registry, settings
from metier.core.errors import InputError, SettingsError
from metier.core.progress import Progress, Silent
from metier.core.settings import Settings
from metier.evaluate.gate.settings import GateSettings
from metier.evaluate.settings import EvaluateSettings
from metier.model.settings import ModelSettings
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.promote.settings import PromoteSettings
from metier.serve.settings import ServeSettings
from metier.text.settings import TextSettings
from metier.train.settings import TrainSettings
from metier.train.sweep.settings import SweepSettings
from metier.train.verify.settings import VerifySettings

FILE = "metier.yaml"
STORE = ".metier"
_NAME = r"[a-z0-9][a-z0-9._-]{0,54}"
_SMALLEST = "base: metier-tiny\ndata: {train: examples.jsonl}"


class BaseFromConfig(Settings):
    """A base that does not exist yet: its weights start from random numbers."""

    config: str = Field(min_length=1)
    """A folder with config.json and tokenizer.json, relative to metier.yaml."""


def _as_base(value: Any) -> Any:
    """Refuse what is neither a name nor `{config: …}` in one sentence rather than in one for each branch."""
    if not isinstance(value, (str, Mapping, BaseFromConfig)):
        raise ValueError("wanted a bundled name, a folder, a hub id, or {config: FOLDER}")
    if isinstance(value, str) and not value.strip():
        raise ValueError("wanted a bundled name, a folder or a hub id, not an empty text")
    return value


def _as_data(value: Any) -> Any:
    """Take `data: file.jsonl` (or a list of files) for `data: {train: file.jsonl}`."""
    return {"train": value} if isinstance(value, (str, list, tuple)) else value


class Project(Settings):
    """Everything that a project can set. Only `base` and `data` have no default."""

    name: Annotated[str, Field(pattern=f"^{_NAME}$")] | None = None
    """Name of the task, used in run ids: small letters, digits, `.`, `_`, `-`. null: the folder's name."""

    base: Annotated[str | BaseFromConfig, BeforeValidator(_as_base)]
    """The model to start from: a bundled name (`metier-tiny`), a folder, a hub id such as `org/name`, or
    `{config: FOLDER}` for random weights."""

    data: Annotated[DataSettings, BeforeValidator(_as_data, json_schema_input_type=DataSettings | str | list[str])]
    """The files to learn from: `{train: FILE}`, or just the file."""

    seed: int = Field(0, ge=0, lt=2**31)
    """Where every random number of this project starts: splits, sample order, dropout."""

    prepare: PrepareSettings = PrepareSettings()
    """How files become a snapshot."""

    text: TextSettings = TextSettings()
    """How rows become tokens."""

    model: ModelSettings = ModelSettings()
    """What of the base is trained."""

    train: TrainSettings = TrainSettings()
    """How the training runs."""

    advise: AdviseSettings = AdviseSettings()
    """What `metier advise` measures before anybody trains; no other command reads it."""

    sweep: SweepSettings = SweepSettings()
    """What `metier sweep` searches; no other command reads it."""

    evaluate: EvaluateSettings = EvaluateSettings()
    """How base and tuned model are compared."""

    gate: GateSettings = GateSettings()
    """What a tuned model must hold to before it goes on; `metier gate` reads it."""

    promote: PromoteSettings = PromoteSettings()
    """What a saved and merged model must hold to."""

    serve: ServeSettings = ServeSettings()
    """How `metier serve` runs; no other command reads it."""

    verify: VerifySettings = VerifySettings()
    """How much the proof of the engine looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A project opened: its settings, its folder, and who listens."""

    project: Project
    folder: Path
    progress: Progress = field(default_factory=Silent)

    @property
    def store(self) -> Path:
        """Where everything made is kept."""
        return self.folder / STORE

    @property
    def runs(self) -> Path:
        """Where the runs are."""
        return self.store / "runs"

    def open_store(self) -> None:
        """Make the store, hidden from git: what is in it can be made again."""
        ignore = self.store / ".gitignore"
        if not ignore.exists():
            artefact.write_file(ignore, "*\n")


def load(folder: Path, overrides: Sequence[str] = ()) -> Project:
    """Read the project in `folder`.

    Args:
        folder: where metier.yaml stands.
        overrides: command-line arguments such as `["--train.learning-rate", "2e-4"]`, laid over the file.

    Raises:
        SettingsError: no file, not YAML, an unknown name (with the nearest known one) or a value out of range.
    """
    laid_over = settings.parse_overrides(overrides)
    values = read_file(folder / FILE)
    try:
        return settings.build(Project, settings.merge(_spread(values), laid_over), "command line")
    except SettingsError:
        settings.build(Project, values, FILE)  # when the file alone is at fault, it is what the message names
        raise


def text_settings(place: Place) -> TextSettings:
    """Return the text settings with the template's path made absolute."""
    text = place.project.text
    if text.template == "auto":
        return text
    path = (place.folder / Path(text.template).expanduser()).resolve()
    if not path.is_file():
        raise SettingsError(f"text.template: no file {path}", "a Jinja file, relative to metier.yaml, or `auto`")
    return text.model_copy(update={"template": str(path)})


def train_settings(place: Place) -> TrainSettings:
    """Return the settings of training with the path of general rows made absolute."""
    train = place.project.train
    if train.regularise.replay_file is None:
        return train
    path = (place.folder / Path(train.regularise.replay_file).expanduser()).resolve()
    if not path.is_file():
        raise SettingsError(
            f"train.regularise.replay_file: no file {path}", "a JSON Lines file, relative to metier.yaml"
        )
    regularise = train.regularise.model_copy(update={"replay_file": str(path)})
    return train.model_copy(update={"regularise": regularise})


def name_of(project: Project, folder: Path) -> str:
    """Return the project's name, or one made from its folder's."""
    if project.name:
        return project.name
    plain = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._")
    return plain[:55] if re.fullmatch(_NAME, plain[:55]) else "project"


def find_run(place: Place, name: str) -> Path:
    """Find a run by its id or by the unique beginning of it, or a version (`NAME@7`, `NAME@production`).

    Raises:
        InputError: none or several begin like that; lists what is there.
        SignatureError: the version is not what was signed.
    """
    if "@" in name:
        return registry.open_version(place.store, name).path
    known = sorted(path.name for path in place.runs.iterdir() if path.is_dir()) if place.runs.is_dir() else []
    matches = [name] if name in known else [entry for entry in known if name and entry.startswith(name)]
    if len(matches) == 1:
        return place.runs / matches[0]
    found = f"run {name!r}: {len(matches)} runs begin like that" if matches else f"run {name!r}: no such run"
    raise InputError(found, "`base` or one of: " + (", ".join(matches or known) or "none yet; `metier run` makes one"))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of metier.yaml, for editors."""
    schema = Project.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": FILE}


def read_file(path: Path) -> dict[str, Any]:
    """Read metier.yaml as plain values.

    Raises:
        SettingsError: the file is missing, is not UTF-8, not YAML, names something twice or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SettingsError(
            f"{path.parent.resolve()}: no {FILE}",
            "a project folder",
            "`metier init NAME` makes one with an example in it; --project DIR names another folder",
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{FILE}: not UTF-8 (byte {error.start})", "a UTF-8 text", "save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})", f"a readable {FILE}") from error
    try:
        values = yaml.load(text, _Loader)  # a SafeLoader that also refuses repeated names
    except yaml.YAMLError as error:
        raise SettingsError(f"{FILE}{_place(error)}", "YAML such as\n" + _SMALLEST) from error
    if values is None:
        raise SettingsError(f"{FILE}: empty", "at least\n" + _SMALLEST)
    if not isinstance(values, dict):
        raise SettingsError(f"{FILE}: a {type(values).__name__}", "names and values such as\n" + _SMALLEST)
    return {str(name): value for name, value in values.items()}


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, strict about names that stand twice: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping after checking its names."""
        seen: set[str] = set()
        for name, _ in node.value:
            if name.value in seen:
                raise yaml.MarkedYAMLError(problem=f"'{name.value}' stands twice", problem_mark=name.start_mark)
            seen.add(str(name.value))
        return super().construct_mapping(node, deep)


def _place(error: yaml.YAMLError) -> str:
    """Say where YAML broke and how, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f":{error.problem_mark.line + 1}: {error.problem or 'not YAML'}"
    return f": not YAML ({' '.join(str(error).split())})"


def _spread(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write a short `data` out, so that `--data.validation FILE` can be laid over it."""
    return dict(values) | ({"data": _as_data(values["data"])} if "data" in values else {})
