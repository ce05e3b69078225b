"""The space that a sweep searches: names of settings, each with a range or a list of values; imports no torch."""

import math
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from metier.core.errors import SettingsError
from metier.core.settings import Settings, model_in, parse_overrides, read_scalar
from metier.core.table import nearest
from metier.model.settings import ModelSettings
from metier.train.plan import TrainingPlan
from metier.train.settings import TrainSettings

Point = Mapping[str, Any]
"""Name of a setting -> its value."""

SECTIONS: dict[str, type[Settings]] = {"model": ModelSettings, "train": TrainSettings}

_FIXED = {
    "train.checks": "the rungs decide when trials are measured",
    "train.check.metrics": "trials are compared by their validation loss",
    "train.check.best": "trials are compared by their validation loss",
    "train.check.rows": "trials are compared by their validation loss",
    "train.check.loss_rows": "trials are compared on the same rows",
    "train.check.every": "trials are compared by their validation loss",
    "train.check.steps": "the rungs decide when trials are measured",
    "train.check.keep_epochs": "it does not change what is trained",
    "train.check.max_new_tokens": "trials are compared by their validation loss",
    "train.checkpoint_every": "it does not change what is trained",
    "train.threads": "it does not change what is trained",
    "train.micro_batch_tokens": "it does not change what is trained",
    "train.objective": "losses of different objectives cannot be compared",
    "train.regularise.replay_file": "it names a file, not a quantity",
    "model.gradient_checkpointing": "it does not change what is trained",
    "model.frozen_cache_gb": "it does not change what is trained",
    "model.save_precision": "it does not change what is trained",
}
_FACTOR = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`. `log`: every factor is as likely; `whole`: whole numbers only."""

    low: float
    high: float
    log: bool
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Values of any kind."""

    values: tuple[Any, ...]


Axis = Range | Choice


def read(over: Mapping[str, str | list[Any]]) -> dict[str, Axis]:
    """Understand what is to be searched.

    Raises:
        SettingsError: a setting that is unknown (with the nearest known one) or cannot be searched, or a value it
            does not take.
    """
    return {(name := written.replace("-", "_")): _axis(name, _leaf(name), value) for written, value in over.items()}


def take_out(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Part the command line's settings into those to set and those to search.

    What a setting would itself take is set; a list of such values, or LOW..HIGH, is searched.
    """
    rest, over = list[str](), dict[str, Any]()
    words = list(arguments)
    while words:
        word = words.pop(0)
        written = [word] if "=" in word or not words else [word, words.pop(0)]
        name = word.partition("=")[0].removeprefix("--").replace("-", "_")
        field = _fields().get(name)
        value = _given(written) if field is not None else None
        if field is not None and isinstance(value, (str, list)) and _fault(field, value) and _is_search(value):
            over[name] = value
        else:
            rest += written
    return rest, over


def lay(plan: TrainingPlan, point: Point) -> TrainingPlan:
    """Return a plan with a point's values laid over it."""
    values = {"model": plan.model.model_dump(), "train": plan.train.model_dump()}
    for name, value in point.items():
        *path, last = name.split(".")
        inner: dict[str, Any] = values
        for part in path:
            inner = inner[part]
        inner[last] = value
    return replace(
        plan, model=ModelSettings.model_validate(values["model"]), train=TrainSettings.model_validate(values["train"])
    )


def value_in(plan: TrainingPlan, name: str) -> Any:
    """Return the value that a plan has for a setting."""
    inner: Any = {"model": plan.model.model_dump(mode="json"), "train": plan.train.model_dump(mode="json")}
    for part in name.split("."):
        inner = inner[part]
    return inner


def size(axes: Mapping[str, Axis]) -> float:
    """Return the number of points in a space; infinite where a range of fractions is in it."""
    return math.prod(_count(axis) for axis in axes.values())


def values(axis: Axis) -> list[Any]:
    """Return all values of an axis that has finitely many."""
    return list(axis.values) if isinstance(axis, Choice) else list(range(int(axis.low), int(axis.high) + 1))


def _count(axis: Axis) -> float:
    if isinstance(axis, Choice):
        return len(axis.values)
    return axis.high - axis.low + 1 if axis.whole else math.inf


def _leaf(name: str) -> FieldInfo:
    if name in _FIXED:
        raise SettingsError(f"{name} cannot be searched: {_FIXED[name]}", "another setting of model or train")
    fields = _fields()
    if name in fields:
        return fields[name]
    inner = {path.rpartition(".")[2]: path for path in fields}
    close = nearest(name, fields) or inner.get(nearest(name.rpartition(".")[2], inner) or "")
    raise SettingsError(f"unknown setting '{name}'", do=f"did you mean '{close}'?" if close else "")


def _fields() -> dict[str, FieldInfo]:
    return {path: field for section, kind in SECTIONS.items() for path, field in _walk(kind, section)}


def _walk(kind: type[Settings], before: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in kind.model_fields.items():
        path = f"{before}.{name}"
        if inner := model_in(field.annotation):
            yield from _walk(inner, path)
        else:
            yield path, field


def _axis(name: str, field: FieldInfo, value: str | list[Any]) -> Axis:
    if isinstance(value, str):
        return _range(name, field, value)
    distinct = [entry for place, entry in enumerate(value) if entry not in value[:place]]
    if len(distinct) < 2:
        raise SettingsError(f"{name}: {value!r}", "at least two different values to try")
    for entry in distinct:
        if fault := _fault(field, entry):
            raise SettingsError(f"{name}: {fault} (found {entry!r})")
    return Choice(values=tuple(distinct))


def _range(name: str, field: FieldInfo, text: str) -> Range:
    ends = [read_scalar(part.strip()) for part in text.split("..")]
    numbers = [float(end) for end in ends if isinstance(end, (int, float)) and not isinstance(end, bool)]
    if len(ends) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise SettingsError(f"{name}: {text!r}", "a list of values, or a range such as 1e-4..1e-2")
    for end in ends:
        if fault := _fault(field, end):
            raise SettingsError(f"{name}: {fault} (found {end!r})")
    low, high = numbers
    kinds = _kinds(field.annotation)
    return Range(low=low, high=high, log=low > 0 and high >= _FACTOR * low, whole=int in kinds and float not in kinds)


def _fault(field: FieldInfo, value: Any) -> str:
    """Return why a setting does not take a value, or ""."""
    try:
        TypeAdapter(Annotated[field.annotation, field]).validate_python(value)  # pyrefly: ignore
    except ValidationError as error:
        return error.errors()[0]["msg"]
    return ""


def _is_search(value: Any) -> bool:
    return isinstance(value, list) or ".." in value


def _given(written: list[str]) -> Any:
    """Return the one value in `["--model.rank", "[8, 16]"]`."""
    value: Any = parse_overrides(written) if len(written) > 1 or "=" in written[0] else None
    while isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    return value


def _kinds(annotation: Any) -> set[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return {kind for part in get_args(annotation) for kind in _kinds(part)}
    return {annotation}
