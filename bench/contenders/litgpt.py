"""litgpt's own recipes in float32 with its default micro-batch of one row; its data loader is the gate.

It has model code of its own and starts from random weights of the same shape. Its head is not tied, which changes
nothing for LoRA; in full training it updates one matrix more.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from litgpt import GPT, Config
from litgpt.args import EvalArgs, TrainArgs
from litgpt.data import DataModule, get_sft_collate_fn
from litgpt.finetune import full, lora
from litgpt.utils import save_config
from torch.utils.data import DataLoader, Sampler

from bench import rows, shapes
from bench.gate import Gate, Job
from bench.places import cache

_NEVER = 10**9


def run(job: Job, gate: Gate) -> None:
    """Train with litgpt's function for the method."""
    common: dict[str, Any] = {
        "checkpoint_dir": _checkpoint(job.model),
        "out_dir": cache() / "output" / "litgpt",
        "precision": "32-true",
        "devices": 1,
        "data": Given(job, gate),
        "train": TrainArgs(
            save_interval=_NEVER,
            log_interval=1,
            global_batch_size=job.rows_per_step,
            micro_batch_size=job.micro_batch,
            lr_warmup_steps=1,
            epochs=2,
            max_steps=job.steps + 1,
        ),
        "eval": EvalArgs(interval=_NEVER, max_new_tokens=1, max_iters=1, final_validation=False),
    }
    if job.method == "full":
        full.setup(**common)
        return
    places = dict.fromkeys(("lora_query", "lora_key", "lora_value", "lora_projection", "lora_mlp"), True)
    lora.setup(**common, **places, lora_r=16, lora_alpha=32, lora_dropout=0.0)


class Given(DataModule):
    """The rows as litgpt wants them; the first also stands for validation, which it insists on."""

    def __init__(self, job: Job, gate: Gate) -> None:
        super().__init__()
        self.job = job
        self.gate = gate
        steps = rows.steps(job.work, shapes.SHAPES[job.model].vocabulary, job.steps, job.rows_per_step)
        self.digest = rows.digest(steps[0])
        self.items = [_item(example) for each in steps for example in each]

    def connect(self, tokenizer: Any = None, batch_size: int = 1, max_seq_length: int | None = None, **_: Any) -> None:
        """Take nothing: the rows are tokens already."""

    def train_dataloader(self) -> DataLoader:
        """Return the rows in order; the gate stands where a step begins."""
        order = InOrder(self.job, self.gate, self.digest)
        return DataLoader(self.items, self.job.micro_batch, sampler=order, collate_fn=get_sft_collate_fn())

    def val_dataloader(self) -> DataLoader:
        """Return one row."""
        return DataLoader(self.items[:1], collate_fn=get_sft_collate_fn())


class InOrder(Sampler[int]):
    """Places 0, 1, …; asks at the gate before a step's first row, when the step before it is over."""

    def __init__(self, job: Job, gate: Gate, digest: str) -> None:
        self.job = job
        self.gate = gate
        self.digest = digest

    def __len__(self) -> int:
        return self.job.steps * self.job.rows_per_step

    def __iter__(self) -> Iterator[int]:
        self.gate.ready(rows=self.digest)
        for place in range(len(self)):
            if place and place % self.job.rows_per_step == 0:
                self.gate.done()
            yield place
        self.gate.done()


def _item(example: rows.Example) -> dict[str, Any]:
    count = len(example.ids)
    return {
        "input_ids": torch.tensor(example.ids),
        "labels": torch.tensor(example.labels),
        "token_counts": {"raw": count, "raw_plus_prompt_template": count},
    }


def _checkpoint(name: str) -> Path:
    """Return litgpt's folder of a shape, made when absent."""
    folder = cache() / "models" / f"{name}-litgpt"
    if (folder / "model_config.yaml").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    shape = shapes.SHAPES[name]
    config = Config(
        name=name,
        block_size=2048,
        vocab_size=shape.vocabulary,
        padded_vocab_size=shape.vocabulary,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_query_groups=shape.key_heads,
        n_embd=shape.hidden,
        intermediate_size=shape.middle,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
        norm_eps=1e-5,
    )
    torch.manual_seed(0)
    torch.save(GPT(config).state_dict(), folder / "lit_model.pth")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shapes.folder(name, weights=False) / file, folder / file)
    save_config(config, folder)
    return folder
