"""How fast this machine multiplies in each number format: measured once in a fraction of a second, then kept.

Every choice that rests on these figures is recorded in the run: it goes on as it began, wherever it is resumed.
"""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import thread_time

import torch

from metier.core import artefact, digest
from metier.model.product import is_wide, multiply

_ROWS, _INPUTS, _OUTPUTS = 256, 576, 576
_ROUNDS = 16
_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """10⁹ multiplications and additions a second in a product of 256 × 576 by 576 × 576, all threads together."""

    float32: float
    bfloat16: float
    int8: float

    def gain(self, kind: str) -> float:
        """Return how many times faster than float32 a format is."""
        return asdict(self)[kind] / self.float32


def rates(folder: Path | None = None) -> Rates:
    """Return the figures of this processor, torch and number of threads, measuring only what was never measured here.

    Args:
        folder: where they are kept. None: `metier` in the user's cache folder.
    """
    identity = [_processor(), torch.__version__, torch.get_num_threads(), is_wide(), _ROWS, _INPUTS, _OUTPUTS]
    path = (folder or cache_folder()) / f"arithmetic-{digest.of_value(identity)[:16]}.json"
    kept = _read(path)
    if kept is None:
        kept = measured()
        try:
            artefact.write_file(path, json.dumps(asdict(kept) | {"machine": identity}, indent=1) + "\n")
        except OSError:
            return kept  # a home that cannot be written costs a measurement a run, nothing else
    return kept


def cache_folder() -> Path:
    """Return the user's cache folder for metier (XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metier"


def measured() -> Rates:
    """Measure: the fastest of several rounds, in seconds that this thread really computed.

    By the clock on the wall, other work on the machine would fall on the slow formats only: their products outlast a
    slice of the scheduler (measured: 8 instead of 98 for float32 beside six other processes, 404 for int8).
    """
    random = torch.Generator().manual_seed(0)
    tokens = torch.randn(_ROWS, _INPUTS, generator=random)
    weight = torch.randn(_OUTPUTS, _INPUTS, generator=random)
    products = {
        "float32": _product(lambda left, right: multiply(left, right.t()), tokens, weight, torch.float32),
        "bfloat16": _product(torch.mm, tokens, weight, torch.bfloat16),
        "int8": _product(torch._int_mm, tokens * 40, weight * 40, torch.int8),
    }
    best = dict.fromkeys(products, float("inf"))
    begun = thread_time()
    for done in range(_ROUNDS):
        if done and thread_time() - begun > _SECONDS:
            break
        for name, product in products.items():
            started = thread_time()
            product()
            best[name] = min(best[name], thread_time() - started)
    work = 2e-9 * _ROWS * _INPUTS * _OUTPUTS
    return Rates(**{name: work / seconds for name, seconds in best.items()})


def _product(
    multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    tokens: torch.Tensor,
    weight: torch.Tensor,
    dtype: torch.dtype,
) -> Callable[[], torch.Tensor]:
    left, right = tokens.clamp(-127, 127).to(dtype), weight.clamp(-127, 127).to(dtype).t()
    return lambda: multiply(left, right)


def _processor() -> str:
    """Name the processor with its instructions: a virtual machine may hide some of them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.processor()} {platform.machine()}"
    named = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return " ".join(sorted({line.partition(":")[2].strip() for line in named})) or platform.machine()


def _read(path: Path) -> Rates | None:
    """Return kept figures, or None where there are none or they cannot be right."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        found = Rates(**{name: float(kept[name]) for name in ("float32", "bfloat16", "int8")})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if all(0 < value < float("inf") for value in asdict(found).values()) else None


def float32_means_float32() -> None:
    """Keep GPUs from computing float32 products in TF32's 10 bits: who wants speed there sets bfloat16."""
    torch.set_float32_matmul_precision("highest")
