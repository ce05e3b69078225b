"""Makes a project folder out of a foreign configuration, told apart by the names in it."""

from pathlib import Path
from typing import Any

import yaml

from metier.cli.adopt import axolotl, factory
from metier.cli.adopt.adopted import Adopted
from metier.core import artefact, settings
from metier.core.errors import InputError, SettingsError
from metier.project import FILE, Project


def adopt(source: Path, target: Path) -> Adopted:
    """Write `target/metier.yaml` with what can be carried over from `source`.

    Raises:
        InputError: it cannot be read, is of no known trainer, or there is a project at `target` already.
    """
    if (target / FILE).exists():
        raise InputError(f"{target / FILE}: already there", "a folder without a project", "choose another name")
    given = _read(source)
    if "base_model" in given:
        found = axolotl.adopt(given, source.parent.resolve(), target)
    elif "model_name_or_path" in given:
        found = factory.adopt(given, source.parent.resolve(), target)
    else:
        raise InputError(
            f"{source}: neither base_model nor model_name_or_path in it",
            "a configuration of Axolotl or LLaMA-Factory",
            "`metier init NAME` makes a project with an example in it",
        )
    _keep_valid(found)
    text = f"# Made from {source.name} by `metier init --from`.\n"
    artefact.write_file(target / FILE, text + yaml.safe_dump(found.values, sort_keys=False, allow_unicode=True))
    return found


def _read(source: Path) -> dict[str, Any]:
    try:
        given = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{source}: cannot be read ({' '.join(str(error).split())[:200]})", "a YAML file") from error
    if not isinstance(given, dict):
        raise InputError(f"{source}: no names and values in it", "a configuration of Axolotl or LLaMA-Factory")
    return {str(name): value for name, value in given.items()}


def _keep_valid(found: Adopted) -> None:
    """Leave behind, one by one, what our settings refuse: the rest is worth having."""
    if "data" not in found.values:
        found.values["data"] = {"train": "data/train.jsonl"}
        found.leave("data sets", "none could be carried over; name them in metier.yaml")
    for theirs, ours, value in list(found.carried):
        alone: dict[str, Any] = {"base": "metier-tiny", "data": "x.jsonl"}
        probe = Adopted(
            values=alone if not ours.startswith("data") else {"base": "metier-tiny", "data": {"train": "x"}}
        )
        probe.put(theirs, ours, value)
        try:
            settings.build(Project, probe.values, theirs)
        except SettingsError as error:
            found.carried.remove((theirs, ours, value))
            found.leave(theirs, f"{value!r} is refused: {error.found}")
            _remove(found.values, ours.split("."))


def _remove(values: dict[str, Any], path: list[str]) -> None:
    for section in path[:-1]:
        values = values.get(section, {})
    values.pop(path[-1], None)
