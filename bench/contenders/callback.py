"""What both trainers of the Hugging Face family share: their arguments, and the callback that ends a step."""

from typing import Any

from transformers import TrainerCallback

from bench.gate import Gate, Job
from bench.places import cache


class AtTheGate(TrainerCallback):
    """Ends a step when its loss is logged: after the optimiser, as in any run that logs."""

    def __init__(self, gate: Gate, facts: dict[str, Any]) -> None:
        self.gate = gate
        self.facts = facts

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say that everything is loaded and tokenised."""
        trained = sum(weight.numel() for weight in kwargs["model"].parameters() if weight.requires_grad)
        self.gate.ready(trained=trained, **self.facts)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the step."""
        if "loss" in kwargs["logs"]:
            self.gate.done(loss=float(kwargs["logs"]["loss"]))


def arguments(job: Job) -> dict[str, Any]:
    """Return the training arguments: float32 on a CPU, bfloat16 on a GPU, nothing recomputed, nothing written."""
    on_gpu = job.device == "cuda"
    return {
        "output_dir": str(cache() / "output"),
        "max_steps": job.steps,
        "per_device_train_batch_size": job.micro_batch,
        "gradient_accumulation_steps": job.rows_per_step // job.micro_batch,
        "gradient_checkpointing": False,
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": 0,
    }
