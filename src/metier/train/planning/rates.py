"""How fast this machine computes, measured in a fraction of a second: the matrix products that a step is made of."""

from collections import Counter
from dataclasses import dataclass
from time import perf_counter, process_time

import torch

from metier.train.planning.simulate import Product, Work

_COVERED = 0.98
"""Share of the arithmetic whose products are measured; the rest is taken to run at the mean rate."""
_LARGEST = 4e8
"""FLOPs of a measured product: of larger ones a part of the rows is measured."""
_MOVED = 1 << 20
"""Numbers in the tensors whose adding says how fast memory is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What this machine does in a second.

    `product` is the seconds of one product of a shape; `flops` the mean rate of all; `attention` FLOPs a second;
    `attention_call` and `call` seconds for each, `bytes` moved a second by what is no product.
    """

    product: dict[Product, float]
    flops: float
    attention: float
    attention_call: float
    bytes: float
    call: float

    def seconds(self, work: Work) -> float:
        """Return how long some work takes."""
        products = sum(
            count * self.product.get(shape, flops(shape) / self.flops) for shape, count in work.products.items()
        )
        attention = work.attention_flops / self.attention + work.attention_calls * self.attention_call
        return products + attention + work.moved / self.bytes + work.calls * self.call


def flops(shape: Product) -> float:
    """Return the floating-point operations of a product."""
    return 2.0 * shape[0] * shape[1] * shape[2]


def measure(work: Work, *, device: torch.device, dtype: torch.dtype, width: int) -> Rates:
    """Measure the products of some work, attention over heads of `width`, adding, and the cost of a call."""
    total = Counter({shape: flops(shape) * count for shape, count in work.products.items()})
    wanted, covered = _COVERED * total.total(), 0.0
    product: dict[Product, float] = {}
    for shape, size in total.most_common():
        if covered >= wanted:
            break
        covered += size
        product[shape] = _product(shape, device, dtype)
    seconds = sum(product[shape] * work.products[shape] for shape in product)
    attention, attention_call = _attention(device, dtype, width)
    numbers = torch.ones(_MOVED, device=device, dtype=dtype)
    moving = _best(lambda: numbers * numbers, device)
    small = torch.ones(8, device=device, dtype=dtype)
    return Rates(
        product=product,
        flops=covered / seconds if seconds else 1e11,
        attention=attention,
        attention_call=attention_call,
        bytes=3 * _MOVED * numbers.element_size() / moving,
        call=_best(lambda: [small * small for _ in range(20)], device) / 20,
    )


def _product(shape: Product, device: torch.device, dtype: torch.dtype) -> float:
    rows, inputs, outputs, left, right = shape
    # a product of many rows is measured on some of them; where rows are summed over, on some of the sums
    part = min(1.0, _LARGEST / flops(shape))
    measured = max(64, round(rows * part)) if part < 1 else rows
    a = _ones(min(rows, measured), inputs, left, device, dtype)
    b = _ones(inputs, outputs, right, device, dtype)
    return _best(lambda: a @ b, device) * rows / min(rows, measured)


def _ones(rows: int, columns: int, by_row: bool, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    if by_row:
        return torch.ones(rows, columns, device=device, dtype=dtype)
    return torch.ones(columns, rows, device=device, dtype=dtype).T


def _attention(device: torch.device, dtype: torch.dtype, width: int) -> tuple[float, float]:
    """Return the rate of attention in FLOPs a second, and the seconds of a call, from a long and a short one."""
    times, sizes = [], []
    for length in (32, 512):
        side = torch.ones(1, 4, length, width, device=device, dtype=dtype)
        times.append(
            _best(lambda side=side: torch.nn.functional.scaled_dot_product_attention(side, side, side), device)
        )
        sizes.append(4.0 * 4 * length * length * width)
    rate = (sizes[1] - sizes[0]) / max(times[1] - times[0], 1e-9)
    return rate, max(0.0, times[0] - sizes[0] / rate)


def _best(compute: object, device: torch.device, times: int = 3) -> float:
    """Return the shortest of a few goes, in seconds of this process: what else the machine does is not counted."""
    clock = perf_counter if device.type == "cuda" or torch.get_num_threads() > 1 else process_time
    best = float("inf")
    for go in range(times + 1):
        started = clock()
        compute()  # pyrefly: ignore
        if device.type == "cuda":
            torch.cuda.synchronize()
        if go:
            best = min(best, clock() - started)
    return max(best, 1e-9)
