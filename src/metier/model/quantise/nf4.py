"""A frozen linear layer in four bits (NF4: Dettmers et al. 2023, QLoRA, section 3), through bitsandbytes' kernels.

The library's own layer repacks its weights for bfloat16 when it is first used for inference on some CPUs, and answers
otherwise from then on. This one keeps one layout, so that what is validated is what trains.

Shapes: I = inputs, O = outputs of the layer, B = I * O / 64 blocks.
"""

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import torch

from metier.model.quantise.unpacked import Unpacked

LIBRARY = "bitsandbytes"
EXTRA = "qlora"
_BLOCK = 64
_BLOCKS_TOGETHER = 256


class Nf4Linear(Unpacked):
    """`x @ W.T + bias` with W as packed four-bit codes and a largest value for each block of 64 weights.

    With `double` the largest values are themselves stored in eight bits, 256 of them to a block: 4.13 bits a weight
    instead of 4.5. On torch's meta device it has its sizes alone, and needs no library.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, double: bool) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.is_double = double
        for name, tensor in (_sizes if weight.is_meta else _stored)(weight, double):
            self.register_parameter(name, torch.nn.Parameter(tensor, requires_grad=False))
        kept = None if bias is None else torch.nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.register_parameter("bias", kept)

    @property
    def weight(self) -> torch.Tensor:
        """The weights as they count, float32 [O, I]; a copy: writing to it changes nothing."""
        if self.packed.is_meta:
            return torch.empty(self.out_features, self.in_features, device="meta")
        library = _library()
        largest = self.largest.data
        if self.is_double:
            inner = library.dequantize_blockwise(
                largest, absmax=self.outer_largest.data, code=self.outer_codes.data, blocksize=_BLOCKS_TOGETHER
            )
            largest = inner + self.offset
        shape = torch.Size((self.out_features, self.in_features))
        state = library.QuantState(absmax=largest, shape=shape, dtype=torch.float32, blocksize=_BLOCK, quant_type="nf4")
        return library.dequantize_4bit(self.packed.data, quant_state=state)

    def weight_in(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the weights as they count, [O, I], in a type."""
        return self.weight.to(dtype)


def _stored(weight: torch.Tensor, double: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what is kept of weights [O, I], by name."""
    packed, state = _library().quantize_4bit(
        weight.detach().float().contiguous(), blocksize=_BLOCK, compress_statistics=double, quant_type="nf4"
    )
    yield from (("packed", packed), ("largest", state.absmax))
    if double:
        yield "offset", state.offset
        yield from (("outer_largest", state.state2.absmax), ("outer_codes", state.state2.code))


def _sizes(weight: torch.Tensor, double: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what would be kept of weights [O, I], without numbers."""
    blocks = -(-weight.numel() // _BLOCK)
    yield "packed", torch.empty(-(-weight.numel() // 2), 1, dtype=torch.uint8, device="meta")
    yield "largest", torch.empty(blocks, dtype=torch.uint8 if double else torch.float32, device="meta")
    if double:
        yield "offset", torch.empty((), device="meta")
        yield "outer_largest", torch.empty(-(-blocks // _BLOCKS_TOGETHER), device="meta")
        yield "outer_codes", torch.empty(256, device="meta")


def _library() -> ModuleType:
    return import_module(f"{LIBRARY}.functional")
