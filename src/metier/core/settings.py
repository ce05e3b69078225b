"""Strict settings: unknown names are refused with the nearest known one, `--section.name value` overrides a file."""

import types
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from metier.core.errors import SettingsError
from metier.core.table import nearest


class Settings(BaseModel):
    """The base of every stage's settings: frozen, strict about names, each field documented where it stands."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    moved: ClassVar[Mapping[str, str]] = {}
    """Names that stood in this class once -> where they stand now, seen from here; a message says so."""


Kind = TypeVar("Kind", bound=Settings)

_MISPLACED = {"extra_forbidden", "model_type"}
"""pydantic's names for a name that is not known, and for a plain value where a section stands."""


def build(kind: type[Kind], values: Mapping[str, Any], where: str) -> Kind:
    """Check plain values against a settings class.

    Args:
        kind: the class.
        values: nested plain values, as read from YAML.
        where: what to name in messages (a file, "--train.rank").

    Raises:
        SettingsError: an unknown name (with the nearest known one), a wrong type or a value out of range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(kind, problem, where) for problem in error.errors())) from error


def _explain(kind: type[Settings], problem: Mapping[str, Any], where: str) -> str:
    location = list(problem["loc"])
    path = [part for part in location[:-1] if not _is_tag(part)]
    if location and (problem["type"] == "extra_forbidden" or not _is_tag(location[-1])):
        path.append(location[-1])  # an unknown name is a name, whatever it looks like
    name = ".".join(str(part) for part in path)
    owner = _class_at(kind, [str(part) for part in path[:-1]])
    if owner and path and problem["type"] in _MISPLACED and (place := owner.moved.get(str(path[-1]))):
        return f"{where}: {name}: is {'.'.join([*(str(part) for part in path[:-1]), place])} now"
    if problem["type"] == "extra_forbidden":
        close = nearest(str(path[-1]), owner.model_fields if owner else ())
        hint = f"; did you mean '{close}'?" if close else ""
        return f"{where}: {name}: unknown{hint}"
    if problem["type"] == "missing":
        return f"{where}: {name}: missing; every project needs it"
    found = problem.get("input")
    wanted = problem["msg"].removeprefix("Value error, ")
    return ": ".join(part for part in (where, name, f"{wanted[:1].lower()}{wanted[1:]} (found {found!r})") if part)


def _is_tag(part: Any) -> bool:
    """Tell whether a location part is pydantic's name for a branch of a union rather than a field."""
    return isinstance(part, str) and (not part.replace("_", "").isalnum() or part[:1].isupper() or part == "str")


def _class_at(kind: type[Settings], path: Sequence[str]) -> type[Settings] | None:
    current: type[Settings] | None = kind
    for part in path:
        field = current.model_fields.get(part) if current else None
        current = model_in(field.annotation) if field else None
    return current


def model_in(annotation: Any) -> type[Settings] | None:
    """Return the settings class inside an annotation such as `Train | None`, or None."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType):
        return next((found for part in get_args(annotation) if (found := model_in(part))), None)
    return None


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """Turn `["--train.learning-rate", "2e-4", "--model.rank=8"]` into nested values (values are read as YAML).

    Raises:
        SettingsError: an argument that is not of that form.
    """
    values: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, text = argument.partition("=")
        if not name.startswith("--") or len(name) < 3:
            raise SettingsError(
                f"argument {argument!r}", "an option such as --train.learning-rate 2e-4",
                "put settings behind a command's own arguments: metier compare A B --train.epochs 1",
            )  # fmt: skip
        if not equals:
            if not rest:
                raise SettingsError(f"option {name} has no value", f"{name} VALUE")
            text = rest.pop(0)
        _put(values, name[2:].replace("-", "_").split("."), read_scalar(text))
    return values


def read_scalar(text: str) -> Any:
    """Read a value written on a command line as YAML, with `2e-4` understood as a number."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date such as 2026-13-45
        return text
    if isinstance(value, str):
        try:
            return float(value) if any(character.isdigit() for character in value) else value
        except ValueError:
            return value
    return value


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return `first` with the nested values of `second` laid over it."""
    result = dict(first)
    for name, value in second.items():
        before = result.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[name] = merge(before, value) if both else value
    return result


def _put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for depth, part in enumerate(path[:-1]):
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            section = ".".join(path[: depth + 1])
            raise SettingsError(f"--{section} has a value and --{'.'.join(path)} asks for a part of it", "one of them")
    values[path[-1]] = value
