"""T: TRL's SFTTrainer on chat rows, float32, loss on the assistant's tokens only, no gradient checkpointing.

Its own defaults (bfloat16 autocast, checkpointing, loss on every token) are about twice slower on a CPU.
"""

from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from bench import rows, shapes
from bench.contenders.callback import AtTheGate, arguments
from bench.contenders.hand import load, lora_config
from bench.gate import Gate, Job

VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    "checkpointing": {"gradient_checkpointing": True},
    "liger": {"use_liger_kernel": True},
    "padding-free": {"padding_free": True},
    "packed": {"packing": True, "max_length": 2048},
}
"""Flags to look for TRL's best with, beside those of the table."""


def run(job: Job, gate: Gate) -> None:
    """Train with SFTTrainer, rows in the order given."""
    steps = rows.steps(job.work, shapes.SHAPES[job.model].vocabulary, job.steps, job.rows_per_step)
    examples = [example for each in steps for example in each]
    trainer = SFTTrainer(
        model=load(job),
        args=SFTConfig(**arguments(job) | {"assistant_only_loss": True, "max_length": None} | VARIANTS[job.variant]),
        train_dataset=Dataset.from_list([{"messages": list(example.messages)} for example in examples]),
        processing_class=AutoTokenizer.from_pretrained(shapes.folder(job.model, weights=False)),
        peft_config=lora_config() if job.method == "lora" else None,
    )
    if job.variant != "packed":
        _require_same_rows(trainer, examples[0])
    trainer.add_callback(AtTheGate(gate, {"rows": rows.digest(steps[0])}))
    trainer.train()


def _require_same_rows(trainer: SFTTrainer, expected: rows.Example) -> None:
    """Refuse to time rows that are not the tokens and labels that everyone else trains on."""
    batch = trainer.data_collator([trainer.train_dataset[0]])
    found, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    if found != list(expected.ids) or labels != expected.labels:
        raise RuntimeError(f"TRL's first row is another: {found[:8]}…, {sum(label != -100 for label in labels)} labels")
