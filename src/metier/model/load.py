"""Load a base or a tuned model: safetensors only, no code from a model folder, nothing silently missing."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import PeftConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from metier.core import artefact, seeds
from metier.core.errors import ModelError
from metier.model.configuration import read_config
from metier.model.find import Base, check_safetensors, read_json
from metier.model.head import NAME as HEAD_NAME
from metier.model.head import give_head
from metier.model.quiet import LIBRARY_FAULTS, quiet
from metier.text import targets

Model = TypeVar("Model", bound=torch.nn.Module)

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"


def device_here() -> torch.device:
    """Return the device that models run on here: the GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_base(base: Base, *, device: torch.device | None = None, seed: int = 0) -> PreTrainedModel:
    """Load a base in float32, in evaluation mode.

    Args:
        base: as found by `model.find`. Kind "config" gives random weights drawn from `seed`.
        device: None: the GPU when there is one.
        seed: used only for random weights.

    Raises:
        ModelError: the weights do not fit the configuration, or cannot be read.
    """
    if base.kind == "config":
        return _placed(_random(base.folder, seed), device)
    return _placed(load_folder(base.folder), device)


def _random(folder: Path, seed: int) -> PreTrainedModel:
    """Build the model of a configuration with random weights, float32."""
    config = read_config(folder)
    torch.manual_seed(seeds.key("weights", seed))
    try:
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except LIBRARY_FAULTS as error:
        raise ModelError(f"{folder}/config.json: no model can be built ({error})", "sizes that fit together") from error


def load_folder(folder: Path) -> PreTrainedModel:
    """Load a whole model from a Hugging Face folder, in float32, on the CPU; with a head where it was trained with one.

    Raises:
        ModelError: a weight is missing, left over or of another shape, or a file is damaged.
    """
    config = read_config(folder)
    kind = AutoModelForCausalLM if targets.read(folder) is None else AutoModelForSequenceClassification
    with quiet():
        try:
            model, facts = kind.from_pretrained(
                str(folder),
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        except LIBRARY_FAULTS as error:
            raise ModelError(f"{folder}: weights cannot be loaded ({error})", "weights that fit config.json") from error
    _require_all_loaded(folder, facts)
    return model.float()


def load_tuned(base: Base, model_folder: Path, *, device: torch.device | None = None) -> PreTrainedModel | PeftModel:
    """Load what a run has trained: its adapter on the base, or its whole weights; in evaluation mode.

    Raises:
        ModelError: a tensor of the adapter found no place, a place found no tensor, or all of its updates are zero.
    """
    if not (model_folder / ADAPTER_CONFIG).is_file():
        return _placed(load_folder(model_folder), device)
    weights = model_folder / ADAPTER_WEIGHTS
    check_safetensors(weights)
    read_json(model_folder / ADAPTER_CONFIG)
    _require_same_base(model_folder, base)
    plain = load_base(base, device=torch.device("cpu"))
    with quiet():
        try:
            tensors = load_file(str(weights))
            _require_effect(weights, tensors)
            if (head := targets.read(model_folder)) is not None:
                plain = give_head(plain, head)
                _require_head(weights, tensors)
            config = PeftConfig.from_pretrained(str(model_folder))
            config.inference_mode = True
            model = get_peft_model(plain, config)
            result = set_peft_model_state_dict(model, tensors)
        except ModelError:
            raise
        except LIBRARY_FAULTS as error:
            raise ModelError(
                f"{model_folder}: the adapter does not fit ({error})",
                f"an adapter of {base.name}",
                "check that this adapter was trained on this base",
            ) from error
    missing = [name for name in result.missing_keys if "lora_" in name or "modules_to_save" in name]
    if result.unexpected_keys or missing:
        examples = ", ".join([*list(result.unexpected_keys)[:2], *missing[:2]])
        raise ModelError(
            f"{weights}: {len(result.unexpected_keys)} tensors found no place, "
            f"{len(missing)} places found no tensor ({examples})",
            f"an adapter of {base.name}",
            "check that this adapter was trained on this base",
        )
    return _placed(model, device)


def _require_same_base(model_folder: Path, base: Base) -> None:
    """Refuse an adapter whose own record names another base: of the same shape, it would fit without a word."""
    if not artefact.exists(model_folder, "model"):
        return
    facts = artefact.read(model_folder, "model").facts
    if facts.get("base_digest", base.digest) != base.digest:
        raise ModelError(
            f"{model_folder}: an adapter of {facts.get('base')!r} ({str(facts['base_digest'])[:8]})",
            f"an adapter of {base.name!r} ({base.digest[:8]})",
            "name the base that it was trained on; a base whose files were changed is another base",
        )


def _placed(model: Model, device: torch.device | None) -> Model:
    """Put a model on its device, in evaluation mode."""
    torch.nn.Module.to(model, device or device_here())
    model.eval()
    return model


def _require_effect(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Refuse an adapter that is empty or whose every update is zero: it would be served with no effect and no error."""
    outer = [tensor for name, tensor in tensors.items() if "lora_B" in name or "lora_" not in name]
    if not outer or not any(bool(tensor.any()) for tensor in outer):
        raise ModelError(f"{path}: {len(tensors)} tensors, none of which changes the base", "a trained adapter")


def _require_head(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Refuse an adapter whose head was not saved: PEFT would leave the head as it starts, and say nothing."""
    if not any(name.endswith(f"{HEAD_NAME}.weight") for name in tensors):
        raise ModelError(f"{path}: no tensor of the head ({HEAD_NAME}.weight)", "the head that was trained")


def _require_all_loaded(folder: Path, facts: dict[str, Any]) -> None:
    wrong = {
        name: sorted(str(key) for key in facts.get(name) or ())
        for name in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
    }
    problems = [f"{name.replace('_', ' ')}: {', '.join(keys[:3])}" for name, keys in wrong.items() if keys]
    if problems:
        raise ModelError(f"{folder}: {'; '.join(problems)}", "weights that fit config.json exactly")
