"""What this machine can do: cores, memory, GPU, disk, versions, missing extras. Torch is looked at, not imported."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from time import perf_counter

import psutil

from metier.core import extras
from metier.core.__about__ import __version__
from metier.core.memory import memory_limit
from metier.core.report import Report, Table, Verdict
from metier.report.cells import size

_GIB = 1 << 30
_LITTLE_MEMORY = 3 * _GIB
_LITTLE_DISK = 2 * _GIB
_SHOWN = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy", "pydantic", "matplotlib")
_MATRIX = 1024


def examine(folder: Path, *, deep: bool = False) -> Report:
    """Look at the machine.

    Args:
        folder: where a project would stand; its disk is measured.
        deep: also import torch (seconds) and let it multiply.
    """
    missing = {extra: extras.missing(extra) for extra in extras.EXTRAS}
    memory = memory_limit()
    existing = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    disk = shutil.disk_usage(existing).free
    rows = [
        ("cores", f"{usable_cores()} usable of {os.cpu_count()}"),
        ("memory", f"{size(psutil.virtual_memory().available)} free of {size(memory)}"),
        ("GPU", gpu() or "none found; training runs on the CPU"),
        ("disk", f"{size(disk)} free in {existing}"),
        ("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
    ]
    if deep and not missing["train"]:
        rows += torch_facts()
    return Report(
        title="metier doctor",
        verdict=_verdict(missing, memory, disk),
        tables=(
            Table(title="This machine", columns=("what", "found"), rows=tuple(rows)),
            Table(title="Versions", columns=("package", "version"), rows=tuple(versions())),
            Table(title="Extras", columns=("extra", "state", "install with"), rows=tuple(_extras(missing))),
        ),
        command="metier doctor" + " --deep" * deep,
    )


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(psutil.Process().cpu_affinity() or ()) if psutil.LINUX or psutil.WINDOWS else os.cpu_count() or 1


def gpu(command: str = "nvidia-smi") -> str:
    """Return the names and memory of the NVIDIA GPUs, or "" when none is to be seen."""
    program = shutil.which(command)
    if program is None:
        return ""
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip())


def versions(find: Callable[[str], str] = metadata.version) -> list[tuple[str, str]]:
    """Return package versions from their metadata, without importing them."""
    found = [("metier", __version__)]
    for name in _SHOWN:
        try:
            found.append((name, find(name)))
        except metadata.PackageNotFoundError:
            found.append((name, "not installed"))
    return found


def torch_facts() -> list[tuple[str, str]]:
    """Import torch, and measure how fast it multiplies here."""
    torch = extras.load("torch", "train")
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    matrix = torch.ones(_MATRIX, _MATRIX, device=device)
    best = float("inf")
    for _ in range(5):
        started = perf_counter()
        float((matrix @ matrix).sum())
        best = min(best, perf_counter() - started)
    where = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    return [("torch computes on", where), ("float32 products", f"{2 * _MATRIX**3 / best / 1e9:,.0f} billion a second")]


def _extras(missing: dict[str, tuple[str, ...]]) -> list[tuple[str, str, str]]:
    return [
        (name, "missing: " + ", ".join(absent) if absent else "installed", extras.install_line(name) if absent else "")
        for name, absent in missing.items()
    ]


def _verdict(missing: dict[str, tuple[str, ...]], memory: int, disk: int) -> Verdict:
    if missing["train"]:
        line = extras.install_line("train")
        return Verdict(text=f"Data can be prepared here; to train and evaluate, first: {line}", good=False)
    if memory < _LITTLE_MEMORY:
        return Verdict(text=f"It can train here, but {size(memory)} of memory is little.", good=None, asked=False)
    if disk < _LITTLE_DISK:
        return Verdict(text=f"It can train here, but only {size(disk)} of disk is free.", good=None, asked=False)
    others = [name for name, absent in missing.items() if absent]
    if others:
        return Verdict(text=f"Ready to train. Not installed, for who needs them: {', '.join(others)}.", good=True)
    return Verdict(text="Ready: everything is installed.", good=True)
