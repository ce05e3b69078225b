"""How fast this machine multiplies matrices, and how many of those products a training step really needs.

`python -m bench.gemm` prints rates for float32 (torch's and ours), bfloat16 and int8 with 1 and 2 threads.
"""

import argparse
import json
from collections.abc import Callable
from time import perf_counter, process_time

import torch

from bench.shapes import Shape

FACTOR = {"lora": 4, "full": 6}
"""Operations a weight and token: 2 forward, 2 back to the input, and 2 to the weight where it trains."""

SIZES = ((512, 288, 768), (2048, 576, 1536), (2048, 1536, 576), (2048, 2048, 2048))
"""Rows, inputs, outputs: of S and M, and the square that counts as the machine's rate."""

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _ours(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    from metier.model.product import multiply  # here: environments of peers measure with this file, and have no metier

    return multiply(left, right.T)


KINDS: tuple[tuple[str, torch.dtype, Product | None], ...] = (
    ("float32", torch.float32, None),
    ("float32, ours", torch.float32, _ours),
    ("bfloat16", torch.bfloat16, None),
    ("int8", torch.int8, None),
)
"""What is measured: name, type, and the product where it is not torch's own."""


def useful_flop(shape: Shape, method: str, tokens: int, labels: int) -> float:
    """Count what a step cannot do without: linear layers on unique tokens, the head at labels.

    Attention, adapters, norms and the optimiser get no credit, so the share that follows is on the low side.
    """
    return float(FACTOR[method]) * (shape.body * tokens + shape.head * labels)


def rate(
    size: tuple[int, int, int] = SIZES[-1],
    dtype: torch.dtype = torch.float32,
    seconds: float = 0.5,
    *,
    product: Product | None = None,
) -> tuple[float, float]:
    """Measure one matrix product with the threads torch has now, by torch's own function for the type unless told.

    Returns:
        Operations per wall second (median of the calls), and per CPU second of all threads.
    """
    rows, inputs, outputs = size
    left, right = _operands(rows, inputs, outputs, dtype)
    chosen = product or (torch._int_mm if dtype == torch.int8 else torch.mm)
    chosen(left, right)
    walls = []
    cpu, end = process_time(), perf_counter() + seconds
    while not walls or perf_counter() < end:
        started = perf_counter()
        chosen(left, right)
        walls.append(perf_counter() - started)
    flop = 2.0 * rows * inputs * outputs
    return flop / sorted(walls)[len(walls) // 2], flop * len(walls) / (process_time() - cpu)


def _operands(rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return [rows, inputs] and the transpose of [outputs, inputs], as a linear layer has them."""
    if dtype == torch.int8:
        return torch.randint(-99, 99, (rows, inputs), dtype=dtype), torch.randint(
            -99, 99, (outputs, inputs), dtype=dtype
        ).T
    return torch.randn(rows, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype).T


def table(threads: tuple[int, ...], seconds: float) -> list[dict[str, object]]:
    """Measure every size and type with each number of threads."""
    entries: list[dict[str, object]] = []
    for count in threads:
        torch.set_num_threads(count)
        for name, dtype, product in KINDS:
            for size in SIZES:
                wall, cpu = rate(size, dtype, seconds, product=product)
                entries.append({
                    "threads": count,
                    "type": name,
                    "size": "x".join(map(str, size)),
                    "per_wall_second": wall / 1e9,
                    "per_cpu_second": cpu / 1e9,
                })  # fmt: skip
    return entries


def main() -> None:
    """Print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    options = parser.parse_args()
    entries = table(tuple(options.threads), options.seconds)
    print("| threads | type | rows x inputs x outputs | G(FL)OP/s wall | per CPU second |\n|---|---|---|---|---|")
    for entry in entries:
        rates = f"{entry['per_wall_second']:.0f} | {entry['per_cpu_second']:.0f}"
        print(f"| {entry['threads']} | {entry['type']} | {entry['size']} | {rates} |")
    print(json.dumps(entries))


if __name__ == "__main__":
    main()
