"""torchtune's single-device recipes in float32 on the same weights and tokens; its metric logger is the gate."""

import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch.utils.data import Dataset

from bench import rows, shapes
from bench.gate import Gate, Job
from bench.places import cache

_HERE = "bench.contenders.torchtune"
_BUILDERS = "torchtune.models.llama3_2._component_builders"


def run(job: Job, gate: Gate) -> None:
    """Train with the recipe of the method."""
    recipe = _recipe(job)
    recipe.setup(cfg=_settings(job))
    recipe._metric_logger = AtTheGate(gate)
    first = rows.step(job.work, shapes.SHAPES[job.model].vocabulary, 0, job.rows_per_step)
    gate.ready(rows=rows.digest(first))
    recipe.train()


class AtTheGate:
    """What torchtune tells its figures to, once a step, after the optimiser."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def log_dict(self, payload: dict[str, Any], step: int) -> None:
        """End the step."""
        self.gate.done(loss=float(payload["loss"]))


class NoTokenizer:
    """The rows are tokens already; all the recipe asks is what to pad with."""

    pad_id = shapes.PAD


class Given(Dataset[dict[str, list[int]]]):
    """The rows as torchtune wants them."""

    def __init__(self, tokenizer: NoTokenizer, job: dict[str, Any]) -> None:
        given = Job(**job)
        steps = rows.steps(given.work, shapes.SHAPES[given.model].vocabulary, given.steps, given.rows_per_step)
        self.examples = [example for each in steps for example in each]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> dict[str, list[int]]:
        example = self.examples[place]
        return {"tokens": list(example.ids), "labels": example.labels}


def _recipe(job: Job) -> Any:
    """Make the recipe's object; recipes are files beside the package, not modules in it."""
    name, kind = {
        "lora": ("lora_finetune_single_device", "LoRAFinetuneRecipeSingleDevice"),
        "full": ("full_finetune_single_device", "FullFinetuneRecipeSingleDevice"),
    }[job.method]
    return _module(name).__dict__[kind](cfg=_settings(job))


def _module(name: str) -> ModuleType:
    path = Path(sysconfig.get_paths()["purelib"]) / "recipes" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _settings(job: Job) -> DictConfig:
    output = str(cache() / "output" / "torchtune")
    scheduler = "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"
    settings: dict[str, Any] = {
        "output_dir": output,
        "model": _model(job),
        "tokenizer": {"_component_": f"{_HERE}.NoTokenizer"},
        "checkpointer": {
            "_component_": "torchtune.training.FullModelHFCheckpointer",
            "checkpoint_dir": str(shapes.folder(job.model)),
            "checkpoint_files": ["model.safetensors"],
            "recipe_checkpoint": None,
            "output_dir": output,
            "model_type": "LLAMA3_2",
        },
        "dataset": {"_component_": f"{_HERE}.Given", "job": job.as_dict()},
        "optimizer": {"_component_": "torch.optim.AdamW", "lr": 2e-5, "fused": True},
        "lr_scheduler": {"_component_": scheduler, "num_warmup_steps": 1} if job.method == "lora" else None,
        "loss": {"_component_": "torchtune.modules.loss.CEWithChunkedOutputLoss"},
        "metric_logger": {"_component_": "torchtune.training.metric_logging.StdoutLogger"},
        "batch_size": job.micro_batch,
        "gradient_accumulation_steps": job.rows_per_step // job.micro_batch,
        "epochs": 1,
        "max_steps_per_epoch": None,
        "device": "cpu",
        "dtype": "fp32",
        "seed": 0,
    }
    off = ("shuffle", "compile", "resume_from_checkpoint", "optimizer_in_bwd", "log_peak_memory_stats")
    recomputing = ("enable_activation_checkpointing", "enable_activation_offloading")
    return OmegaConf.create(settings | dict.fromkeys((*off, *recomputing), False))


def _model(job: Job) -> dict[str, Any]:
    shape = shapes.SHAPES[job.model]
    sizes = {
        "vocab_size": shape.vocabulary,
        "num_layers": shape.layers,
        "num_heads": shape.heads,
        "num_kv_heads": shape.key_heads,
        "embed_dim": shape.hidden,
        "intermediate_dim": shape.middle,
        "max_seq_len": 2048,
    }
    if job.method == "full":
        return {"_component_": f"{_BUILDERS}.llama3_2", **sizes}
    places = ["q_proj", "k_proj", "v_proj", "output_proj"]
    adapter = {"lora_attn_modules": places, "apply_lora_to_mlp": True, "lora_rank": 16, "lora_alpha": 32}
    return {"_component_": f"{_BUILDERS}.lora_llama3_2", **adapter, **sizes}
