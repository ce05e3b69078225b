"""Which numbers a training in bfloat16 keeps in float32: what trains, and what its optimiser remembers."""

import pytest
import torch
from safetensors.torch import load_file

from tests.train.conftest import plan


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_trains_and_its_optimiser_stay_float32_where_products_are_bfloat16(method, run_to_end):
    """Updates that bfloat16 would round away are kept: there the weights would be those of the step before."""
    settings = plan(
        {"method": method, "precision": "bfloat16"}, learning_rate=1e-5, max_steps=4, checkpoint_every=1, checks=1
    )
    folders = sorted((run_to_end(settings) / "checkpoints").glob("step-*"))
    files = [path for folder in folders for path in folder.glob("*.safetensors")]
    tensors = [tensor for path in files for tensor in load_file(path).values() if tensor.is_floating_point()]
    assert tensors
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    before, after = (load_file(folder / "trained.safetensors") for folder in folders[-2:])
    moved = [after[name] != before[name] for name in after]
    seen = [after[name].bfloat16() != before[name].bfloat16() for name in after]
    in_float32, in_bfloat16 = (torch.cat([part.flatten() for part in parts]).float().mean() for parts in (moved, seen))
    assert in_float32 > 0.5
    assert in_bfloat16 < in_float32 * (2 / 3)
