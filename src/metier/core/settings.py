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

_LONGEST = 300
"""Characters of a setting's description that a message repeats whole."""


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
        told: dict[str, list[Mapping[str, Any]]] = {}
        for problem in error.errors():
            told.setdefault(".".join(_path(problem)), []).append(problem)
        found = "; ".join(_explain(kind, problems, where) for problems in told.values())
        raise SettingsError(found, do=_advice(kind, next(iter(told.values()))[0])) from error


def _path(problem: Mapping[str, Any]) -> list[str]:
    """Return the names that lead to what is wrong."""
    location = list(problem["loc"])
    path = [part for part in location[:-1] if not _is_tag(part)]
    if location and (problem["type"] == "extra_forbidden" or not _is_tag(location[-1])):
        path.append(location[-1])  # an unknown name is a name, whatever it looks like
    return [str(part) for part in path]


def _explain(kind: type[Settings], problems: Sequence[Mapping[str, Any]], where: str) -> str:
    """Say what is wrong under one name; a value that may be of several kinds has a problem for each."""
    problem, path = problems[0], _path(problems[0])
    name = ".".join(path)
    owner = _class_at(kind, path[:-1])
    if owner and path and problem["type"] in _MISPLACED and (place := owner.moved.get(path[-1])):
        return f"{where}: {name}: is {'.'.join([*path[:-1], place])} now"
    if problem["type"] == "extra_forbidden":
        close = nearest(path[-1], owner.model_fields if owner else ())
        hint = f"; did you mean '{close}'?" if close else ""
        return f"{where}: {name}: unknown{hint}"
    if problem["type"] == "missing":
        return f"{where}: {name}: missing; every project needs it"
    section = _class_at(kind, path)
    wants = list(dict.fromkeys(_wanted(each, name, section) for each in problems))
    wants = [want if number == 0 else want.removeprefix("input should be ") for number, want in enumerate(wants)]
    found = problem.get("input")
    return ": ".join(part for part in (where, name, f"{', or '.join(wants)} (found {found!r})") if part)


def _wanted(problem: Mapping[str, Any], name: str, section: type[Settings] | None) -> str:
    if problem["type"] == "model_type" and section is not None:
        return f"settings of its own stand here, such as {name + '.' if name else ''}{next(iter(section.model_fields))}"
    words = str(problem["msg"]).removeprefix("Value error, ")
    return f"{words[:1].lower()}{words[1:]}"


def _advice(kind: type[Settings], problem: Mapping[str, Any]) -> str:
    """Return what helps whoever has written a setting wrongly: what may stand there, and what it is when left out."""
    path = _path(problem)
    while path and path[-1].isdigit():  # a place in a list: what the list is
        path.pop()
    owner = _class_at(kind, path[:-1])
    if owner is None or not path:
        return ""
    if problem["type"] == "extra_forbidden":
        known = path[-1] in owner.moved or nearest(path[-1], owner.model_fields)
        return "" if known else f"set one of {', '.join(owner.model_fields)}"
    field = owner.model_fields.get(path[-1])
    if field is None or not field.description or problem["type"] == "missing" or path[-1] in owner.moved:
        return ""
    words = " ".join(field.description.split())
    meaning = words if len(words) <= _LONGEST else words.partition(". ")[0].rstrip(".") + "."
    plain = field.default is None or isinstance(field.default, str | int | float)
    left_out = f" Left out: {'null' if field.default is None else field.default}." if plain else ""
    return f"set {'.'.join(path)}. {meaning}{left_out}"


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
