"""Which room may import which, and which rooms must start without torch."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.house.faults import ROOT, Fault, files

HEAVY = ("torch", "transformers", "peft")
LIGHT_ROOMS = ("core", "text", "report", "score", "prepare", "project", "resolved", "flow", "cli")
LIGHT_FILES = (
    "advise/settings.py",
    "advise/report.py",
    "model/find.py",
    "model/settings.py",
    "train/settings.py",
    "train/plan.py",
    "train/general.py",
    "train/sweep/settings.py",
    "train/sweep/space.py",
    "train/sweep/report.py",
    "evaluate/settings.py",
    "promote/settings.py",
    "serve/settings.py",
    "promote/report.py",
)

_PROBE = """
import importlib, json, sys
faults = {}
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
    found = sorted(set(json.loads(sys.argv[2])) & set(sys.modules))
    if found and not faults:
        faults[name] = found
print(json.dumps(faults))
"""


def contract(source: Path, configuration: Path) -> list[Fault]:
    """Run import-linter over the package below `source` with the contracts of a pyproject.toml."""
    command = [
        str(Path(sys.executable).with_name("lint-imports")),
        "--config",
        str(configuration),
        "--no-cache",
        "--no-logo",
    ]
    done = _run(command, source)
    if done.returncode == 0:
        return []
    return [Fault("import contract", done.stdout + done.stderr)]


def torch_loaded(source: Path, rooms: Iterable[str], single_files: Iterable[str] = ()) -> list[Fault]:
    """Import every module of the light rooms in a fresh process and look at what else came in.

    The first module that brings a heavy one in is named; those before it are clean.
    """
    package = source / "metier"
    paths = [path for room in rooms for path in _of_room(package, room)] + [package / name for name in single_files]
    names = [_module_name(path, source) for path in paths]
    done = _run([sys.executable, "-c", _PROBE, json.dumps(names), json.dumps(HEAVY)], source)
    if done.returncode:
        return [Fault("torch-free rooms", done.stderr[-2000:])]
    return [Fault(name, f"imports {', '.join(found)}") for name, found in json.loads(done.stdout).items()]


def _of_room(package: Path, room: str) -> list[Path]:
    return [package / f"{room}.py"] if (package / f"{room}.py").is_file() else files(package / room, ".py")


def _module_name(path: Path, source: Path) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _run(command: list[str], source: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(source)}
    return subprocess.run(
        command, cwd=source, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def layers(configuration: Path = ROOT / "pyproject.toml") -> list[str]:
    """Return the rooms of the import contract, top first."""
    contracts = tomllib.loads(configuration.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    order = next(entry["layers"] for entry in contracts if entry["type"] == "layers")
    return [room.strip() for layer in order for room in layer.split("|")]
