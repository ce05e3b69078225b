"""The plain transformers Trainer over the same model and token ids, with its own loss over all positions."""

from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from bench import rows, shapes
from bench.contenders.callback import AtTheGate, arguments
from bench.contenders.hand import load, padded, with_lora
from bench.gate import Gate, Job


def run(job: Job, gate: Gate) -> None:
    """Train with Trainer, rows in the order given."""
    steps = rows.steps(job.work, shapes.SHAPES[job.model].vocabulary, job.steps, job.rows_per_step)
    model = load(job)
    trainer = Trainer(
        model=with_lora(model) if job.method == "lora" else model,
        args=TrainingArguments(**arguments(job), remove_unused_columns=False),
        train_dataset=[example for each in steps for example in each],  # a list is a data set with places
        data_collator=_collate,
    )
    trainer.add_callback(AtTheGate(gate, {"rows": rows.digest(steps[0])}))
    trainer.train()


def _collate(examples: list[rows.Example]) -> dict[str, Any]:
    return padded(examples, torch.device("cpu"))
