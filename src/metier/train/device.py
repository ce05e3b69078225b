"""One training at a time on each GPU of a machine, whoever starts it; two on a CPU are told of one another.

METIER_DEVICE_LOCK says otherwise: `wait` on a CPU, too (as jobs do), `refuse` rather than wait, `off`: look at nothing.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from metier.core import artefact, lock
from metier.core.errors import LockedError, SettingsError
from metier.core.progress import Progress

HOW = "METIER_DEVICE_LOCK"
WAITING = "waiting.txt"
"""In the run's folder while it waits for its device: for whom."""

_WAYS = ("", "wait", "refuse", "off")


@contextmanager
def alone(device: torch.device, run: Path, progress: Progress) -> Iterator[None]:
    """Have a device to oneself inside the block, as far as trainings go; a CPU only where that is asked for.

    Args:
        device: that is trained on.
        run: the run's folder.
        progress: told who else trains there.

    Raises:
        LockedError: another process trains there, and waiting is not wanted.
        SettingsError: METIER_DEVICE_LOCK says what it cannot.
    """
    how = os.environ.get(HOW, "")
    if how not in _WAYS:
        raise SettingsError(f"{HOW} {how!r}", "wait, refuse or off, or unset")
    if how == "off":
        yield
        return
    name, called = _identity(device)
    waits = how == "wait" or (how == "" and device.type != "cpu")

    def taken(holder: str) -> bool:
        found = f"{holder or 'another training'} on {called}"
        if how == "refuse":
            raise LockedError(found, "one training at a time", f"wait for it, stop it, or unset {HOW}")
        if waits:
            progress.say(f"waits for {found}")
            artefact.write_file(run / WAITING, found)
        else:
            progress.say(f"{found}, too: both take longer; train.threads says how many cores each may use")
        return waits

    told = f"process {os.getpid()} training {run.resolve()}"
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.of_machine(name, told=told, taken=taken))
        except OSError as error:
            progress.say(f"whether another process trains on {called} is not known: {error}")
        finally:
            (run / WAITING).unlink(missing_ok=True)
        yield


def _identity(device: torch.device) -> tuple[str, str]:
    """Return the name of a device's lock, the same whatever CUDA_VISIBLE_DEVICES says, and what people call it."""
    if device.type != "cuda":
        return device.type, f"this {device.type.upper()}"
    found = torch.cuda.get_device_properties(device)
    return f"gpu-{found.uuid}", found.name
