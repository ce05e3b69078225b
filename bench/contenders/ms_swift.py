"""ms-swift's supervised fine-tuning in float32 without gradient checkpointing: its own pipeline, trainer and collator.

The rows are handed over as token ids; everything from the batch on is its own.
"""

from typing import Any

from swift.arguments import SftArguments
from swift.pipelines.train.sft import SwiftSft
from swift.trainers import TrainerFactory

from bench import rows, shapes
from bench.contenders.callback import AtTheGate, arguments
from bench.gate import Gate, Job


def run(job: Job, gate: Gate) -> None:
    """Train with the trainer that `swift sft` takes, rows in the order given."""
    steps = rows.steps(job.work, shapes.SHAPES[job.model].vocabulary, job.steps, job.rows_per_step)
    pipeline = SwiftSft(SftArguments(**_arguments(job)))
    model = pipeline.prepare_model(pipeline.args, pipeline.model, template=pipeline.template, train_dataset=None)
    trainer = TrainerFactory.get_trainer_cls(pipeline.args)(
        model=model,
        args=pipeline.args.training_args,
        template=pipeline.template,
        train_dataset=[_item(example) for each in steps for example in each],
    )
    trainer.add_callback(AtTheGate(gate, {"rows": rows.digest(steps[0])}))
    trainer.train()


def _arguments(job: Job) -> dict[str, Any]:
    shared = {name: value for name, value in arguments(job).items() if name != "train_sampling_strategy"}
    lora = {"tuner_type": "lora", "lora_rank": 16, "lora_alpha": 32, "lora_dropout": 0.0}
    return {
        **shared,
        "model": str(shapes.folder(job.model)),
        "model_type": "llama",
        "template": "dummy",
        "dataset": ["given as token ids"],
        "torch_dtype": "float32",
        "train_dataloader_shuffle": False,
        "check_model": False,
        "add_version": False,
        "report_to": [],
        **(lora if job.method == "lora" else {"tuner_type": "full"}),
    }


def _item(example: rows.Example) -> dict[str, Any]:
    return {"input_ids": list(example.ids), "labels": list(example.labels), "length": len(example.ids)}
