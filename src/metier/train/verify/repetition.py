"""The same again gives the same: one step twice, and a training that was interrupted beside one that was not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file

from metier.core.errors import DivergenceError
from metier.core.progress import Silent, SilentTask, Task
from metier.forest.arrange import Arrangement
from metier.train import checkpoint
from metier.train.fit import Fit
from metier.train.loop import seed_step
from metier.train.verify.gradient import Gradients, apart, equal_bits, forest_gradients
from metier.train.verify.verdicts import Check

TWICE = "the same step twice"
RESUME = "interrupted = uninterrupted"
_ON_GPU = 1e-3
"""Kernels of a GPU add in an order of their own; bit-identity is claimed for CPUs only."""


def twice(fit: Fit, work: Callable[[], Arrangement]) -> Check:
    """Compute a step's gradient twice, dropout and all, and compare the bytes. The model is left in training mode."""
    fit.model.train()
    found = []
    with fit.way.attention(fit.model):
        for _ in range(2):
            seed_step(fit.seed, 0)
            found.append(forest_gradients(fit.model, fit.objective, work(), fit.arithmetic))
    return _same(TWICE, *found, on_cpu=fit.arithmetic.device.type == "cpu", detail=f"{len(found[0])} gradients")


def _same(name: str, first: Gradients, second: Gradients, *, on_cpu: bool, detail: str) -> Check:
    """Compare tensors: 0 only when every byte is the same."""
    bound = 0.0 if on_cpu else _ON_GPU
    if first.keys() != second.keys():
        return Check(name=name, found=float("inf"), bound=bound, unit="relative", detail="other tensors than before")
    if equal_bits(first.values(), second.values()):
        return Check(name=name, found=0.0, bound=bound, unit="relative", detail=f"{detail}, byte for byte")
    found, worst = apart(first, second)
    tiny = max(found, 1e-300)  # signs of zero differ in bytes and not in value
    return Check(name=name, found=tiny, bound=bound, unit="relative", detail=f"{detail}; largest in {worst}")


class _Pulled(Exception):
    """The plug."""


class _PullsThePlug(Silent):
    """A listener that ends a training from outside after some steps, between two checkpoints."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Task]:
        """Open a bar; that of the training breaks off."""
        yield _Fuse(self) if name == "train" else SilentTask()

    def burn(self) -> None:
        """Count a step."""
        self._left -= 1
        if not self._left:
            raise _Pulled


class _Fuse(SilentTask):
    def __init__(self, owner: _PullsThePlug) -> None:
        self._owner = owner

    def advance(self, count: int = 1, facts: object = None) -> None:
        """Burn on."""
        self._owner.burn()


def resumed(make: Callable[[Path], Fit], steps: int) -> Check:
    """Train twice from the start, once interrupted and loaded afresh, and compare the last checkpoints.

    Args:
        make: loads the model and makes the loop of a run in a folder.
        steps: of the training; `make` publishes a checkpoint after half of them.
    """
    with TemporaryDirectory(prefix="metier-verify-") as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        for folder in (whole, broken):
            folder.mkdir()
        fit = make(whole)
        on_cpu = fit.arithmetic.device.type == "cpu"
        fit.run(Silent())
        del fit
        _interrupt(make(broken), steps - 1)
        newest = checkpoint.newest(broken)
        at = int(newest.name.removeprefix("step-")) if newest else 0
        try:
            make(broken).run(Silent())
        except DivergenceError as error:
            return Check(name=RESUME, found=float("inf"), bound=0.0, unit="relative", detail=error.found)
        ends = [_tensors(checkpoint.folder(folder, steps)) for folder in (whole, broken)]
    detail = f"stopped after step {steps - 1} of {steps}, loaded afresh at step {at}; {len(ends[0])} tensors"
    return _same(RESUME, *ends, on_cpu=on_cpu, detail=detail)


def _interrupt(fit: Fit, steps: int) -> None:
    try:
        fit.run(_PullsThePlug(steps))
    except _Pulled:
        return


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.stem}/{name}": tensor
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(str(path)).items()
    }
