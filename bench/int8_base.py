"""Measure LoRA beside a frozen base in float32, bfloat16 and int8 on the shape of SmolLM2-135M, random weights.

    OMP_NUM_THREADS=1 taskset -c 1 python bench/int8_base.py [--layers 30] [--tokens 2048] [--rounds 3]

One step = forward and backward of `tokens` tokens in rows of 256, labels on the last 32 tokens of each row; LoRA of
rank 16 on all linear layers but the head. The variants take turns in one process; of each the fastest step counts.
Prints user CPU and wall seconds, ratios to float32, the memory of the base, and how far the gradient of the adapters is
from that of float32: relative distance, and its length along it (1 = unbiased).
"""

import argparse
import copy
import platform
import resource
from dataclasses import dataclass
from time import perf_counter

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from metier.model.arithmetic import measured
from metier.model.quantise.freeze import quantise

SHAPE = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
ROW, LABELS = 256, 32
VARIANTS = {"float32": ("none", False), "bfloat16": ("none", True), "int8": ("int8", False)}
VARIANTS["int8 + bfloat16"] = ("int8", True)


@dataclass
class Best:
    """The fastest step so far, in seconds."""

    cpu: float = float("inf")
    wall: float = float("inf")


def build(layers: int) -> torch.nn.Module:
    """Return the base with its adapters, moved off zero so that both matrices of each get a gradient."""
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, **SHAPE)).float().requires_grad_(False)
    config = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear")
    model = get_peft_model(base, config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.01)
    return model


def step(model: torch.nn.Module, ids: torch.Tensor, *, bfloat16: bool) -> None:
    """Compute the gradient of one step."""
    model.zero_grad(set_to_none=True)
    keep = torch.arange(ROW - 1 - LABELS, ROW - 1)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
    cross_entropy(logits.float().flatten(0, 1), ids[:, keep + 1].flatten()).backward()


def gradient(model: torch.nn.Module) -> torch.Tensor:
    """Return the gradient of all adapters as one vector."""
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def base_bytes(model: torch.nn.Module) -> int:
    """Return the bytes of what does not train."""
    return sum(w.numel() * w.element_size() for w in model.parameters() if not w.requires_grad)


def user_seconds() -> float:
    """Return the user CPU seconds of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("--layers", 30), ("--tokens", 2048), ("--rounds", 3)):
        parser.add_argument(name, type=int, default=value)
    asked = parser.parse_args()
    print(f"torch {torch.__version__}, {platform.machine()}, threads: {torch.get_num_threads()}")
    rates = measured()
    print(f"products, G(FL)OP/s: float32 {rates.float32:.0f}, bfloat16 {rates.bfloat16:.0f}, int8 {rates.int8:.0f}")
    exact = build(asked.layers)
    models = {"none": exact, "int8": quantise(copy.deepcopy(exact), "int8", torch.device("cpu"))}
    ids = torch.randint(0, SHAPE["vocab_size"], (asked.tokens // ROW, ROW), generator=torch.Generator().manual_seed(1))
    best = {name: Best() for name in VARIANTS}
    gradients = {}
    for _ in range(asked.rounds):
        for name, (kind, bfloat16) in VARIANTS.items():
            cpu, wall = user_seconds(), perf_counter()
            step(models[kind], ids, bfloat16=bfloat16)
            best[name].cpu = min(best[name].cpu, user_seconds() - cpu)
            best[name].wall = min(best[name].wall, perf_counter() - wall)
            gradients[name] = gradient(models[kind])
    report(best, gradients, {name: base_bytes(models[kind]) for name, (kind, _) in VARIANTS.items()})


def report(best: dict[str, Best], gradients: dict[str, torch.Tensor], memory: dict[str, int]) -> None:
    """Print one line a variant."""
    first, exact = best["float32"], gradients["float32"]
    print("| base | user CPU s | against float32 | wall s | against float32 | base MB | gradient off by | its length |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, found in best.items():
        off = ((gradients[name] - exact).norm() / exact.norm()).item()
        length = (gradients[name] @ exact / (exact @ exact)).item()
        times = f"{found.cpu:.2f} | {first.cpu / found.cpu:.2f}× | {found.wall:.2f} | {first.wall / found.wall:.2f}×"
        print(f"| {name} | {times} | {memory[name] / 1e6:.0f} | {off:.1%} | {length:.3f} |")


if __name__ == "__main__":
    main()
