"""Load a base or a tuned model: safetensors only, no code from a model folder, nothing silently missing."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from metier.core import artefact, seeds
from metier.core.errors import ModelError
from metier.model.adapter import attach, has_whole_modules, is_adapter
from metier.model.configuration import read_config
from metier.model.find import Base
from metier.model.quantise.freeze import KINDS, Quantisation, narrow, quantise
from metier.model.quiet import LIBRARY_FAULTS, quiet
from metier.model.stored import is_in_bfloat16
from metier.text import targets

Model = TypeVar("Model", bound=torch.nn.Module)


def device_here() -> torch.device:
    """Return the device that models run on here: the GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_base(
    base: Base, *, device: torch.device | None = None, seed: int = 0, as_stored: bool = False
) -> PreTrainedModel:
    """Load a base in float32, in evaluation mode.

    Args:
        base: as found by `model.find`. Kind "config" gives random weights drawn from `seed`.
        device: None: the GPU when there is one.
        seed: used only for random weights.
        as_stored: leave the linear layers of a base that is stored in bfloat16 so; they answer the same (`HalfLinear`).

    Raises:
        ModelError: the weights do not fit the configuration, or cannot be read.
    """
    if base.kind == "config":
        return _placed(_random(base.folder, seed), device)
    stored = as_stored and is_in_bfloat16(base.folder)
    return _placed(_as_stored(base.folder) if stored else load_folder(base.folder), device)


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
    return _read(folder, torch.float32).float()


def _as_stored(folder: Path) -> PreTrainedModel:
    """Load a base that is stored in bfloat16, its linear layers as they are.

    What a model works out for itself (the scale of its embeddings, say) it does in the type that it is loaded in: one
    that does so is loaded in float32, and its layers are cut short again.
    """
    model = _read(folder, torch.bfloat16)
    if any(buffer.dtype == torch.bfloat16 for buffer in _worked_out(model)):
        del model
        model = load_folder(folder)
    narrow(model)
    return model


def _worked_out(model: PreTrainedModel) -> list[torch.Tensor]:
    """Return the buffers that no file holds."""
    found = [getattr(part, name) for part in model.modules() for name in part._non_persistent_buffers_set]
    return [buffer for buffer in found if buffer is not None]


def _read(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    config = read_config(folder)
    kind = AutoModelForCausalLM if targets.read(folder) is None else AutoModelForSequenceClassification
    with quiet():
        try:
            model, facts = kind.from_pretrained(
                str(folder),
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        except LIBRARY_FAULTS as error:
            raise ModelError(f"{folder}: weights cannot be loaded ({error})", "weights that fit config.json") from error
    _require_all_loaded(folder, facts)
    return model


def load_tuned(
    base: Base, model_folder: Path, *, device: torch.device | None = None, exact_base: bool = False
) -> torch.nn.Module:
    """Load what a run has trained: its adapter on the base, or its whole weights; in evaluation mode.

    Args:
        base: that it was trained on.
        model_folder: as published by the run. An adapter trained beside a quantised base gets that base again.
        device: None: the GPU when there is one.
        exact_base: leave the base in float32 all the same.

    Raises:
        ModelError: a tensor of the adapter found no place, a place found no tensor, or all of its updates are zero.
    """
    if not is_adapter(model_folder):
        return _placed(load_folder(model_folder), device)
    _require_same_base(model_folder, base)
    kind = "none" if exact_base else quantisation(model_folder)
    plain = load_base(
        base, device=torch.device("cpu"), as_stored=kind != "none" and not has_whole_modules(model_folder)
    )
    model = quantise(attach(plain, base, model_folder), kind, device or device_here())
    return _placed(model, device)


def quantisation(model_folder: Path) -> Quantisation:
    """Return the number format of the base that a run's adapter was trained beside, as its manifest records it."""
    if not artefact.exists(model_folder, "model"):
        return "none"
    kind = artefact.read(model_folder, "model").facts.get("quantise", "none")
    if kind not in KINDS:
        raise ModelError(f"{model_folder}: trained beside a base in {kind!r}", f"one of {', '.join(KINDS)}")
    return kind


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


def _require_all_loaded(folder: Path, facts: dict[str, Any]) -> None:
    wrong = {
        name: sorted(str(key) for key in facts.get(name) or ())
        for name in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
    }
    problems = [f"{name.replace('_', ' ')}: {', '.join(keys[:3])}" for name, keys in wrong.items() if keys]
    if problems:
        raise ModelError(f"{folder}: {'; '.join(problems)}", "weights that fit config.json exactly")
