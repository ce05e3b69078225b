"""Read a saved adapter back onto its base: every tensor finds its place, every place its tensor, and it does something.

Two formats: PEFT's own, and ours for bottleneck modules (docs/ways.md).
"""

from pathlib import Path

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    TrainableTokensConfig,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors.torch import load_file
from transformers import PreTrainedModel

from metier.core.errors import ModelError
from metier.core.settings import build
from metier.model.find import Base, check_safetensors, read_json
from metier.model.head import NAME as HEAD_NAME
from metier.model.head import give_head
from metier.model.quiet import LIBRARY_FAULTS, quiet
from metier.model.settings import BottleneckSettings
from metier.model.ways import bottleneck, start
from metier.model.ways.virtual import Virtual, in_front
from metier.text import targets

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
BOTTLENECK_WEIGHTS = "bottleneck.safetensors"
BOTTLENECK_CONFIG = "bottleneck.json"
BOTTLENECK_FORMAT = 1

_UNMERGEABLE = {
    "ADAPTION_PROMPT": "learnt tokens that layers attend to are in no weight of the base",
    "BEFT": "it adds a bias where the base has none",
    "CARTRIDGE": "learnt keys and values are in no weight of the base",
    "P_TUNING": "learnt tokens are in no weight of the base",
    "PREFIX_TUNING": "learnt keys and values are in no weight of the base",
    "PROMPT_TUNING": "learnt tokens are in no weight of the base",
}


def is_adapter(folder: Path) -> bool:
    """Tell whether a model folder holds an adapter rather than a whole model."""
    return (folder / ADAPTER_CONFIG).is_file() or (folder / BOTTLENECK_CONFIG).is_file()


def why_unmergeable(folder: Path) -> str:
    """Say why what a model folder holds cannot be folded into its base, or ""."""
    if (folder / BOTTLENECK_CONFIG).is_file():
        return "bottleneck modules bend what passes through them; no weight of the base can do that"
    if not (folder / ADAPTER_CONFIG).is_file():
        return ""
    return _UNMERGEABLE.get(str(read_json(folder / ADAPTER_CONFIG).get("peft_type")), "")


def attach(plain: PreTrainedModel, base: Base, folder: Path) -> torch.nn.Module:
    """Put the adapter in `folder` onto its base.

    Raises:
        ModelError: a tensor found no place, a place found no tensor, or the adapter would change nothing.
    """
    if (folder / BOTTLENECK_CONFIG).is_file():
        return _attach_bottlenecks(plain, base, folder)
    weights = folder / ADAPTER_WEIGHTS
    check_safetensors(weights)
    read_json(folder / ADAPTER_CONFIG)
    with quiet():
        try:
            tensors = load_file(str(weights))
            _require_effect(weights, tensors)
            if (head := targets.read(folder)) is not None:
                plain = give_head(plain, head)
                _require_head(weights, tensors)
            model = _empty(plain, folder)
            places = get_peft_model_state_dict(model, save_embedding_layers=False)
            _require_all_placed(base, weights, sorted(tensors.keys() - places), sorted(places.keys() - tensors))
            set_peft_model_state_dict(model, tensors)
        except ModelError:
            raise
        except LIBRARY_FAULTS as error:
            raise _misfit(base, f"{folder}: the adapter does not fit ({error})") from error
    whole = in_front(model)
    _require_difference(whole, model, weights)
    return whole


def _empty(plain: PreTrainedModel, folder: Path) -> PeftModel:
    """Return a base with the places of an adapter in it, ready to be filled; nothing but its weights are read."""
    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    if isinstance(config, LoraConfig):
        if start.needs_data(config) or start.takes_from_base(config):
            raise ModelError(
                f"{folder}/{ADAPTER_CONFIG}: an adapter that started as {config.init_lora_weights!r}",
                "one that fits the original base",
                "save it with PEFT's path_initial_model_for_weight_conversion; metier converts what it trains itself",
            )
        start.forget(config)
    return get_peft_model(plain, config)


def _misfit(base: Base, found: str) -> ModelError:
    return ModelError(found, f"an adapter of {base.name}", "check that this adapter was trained on this base")


def _require_all_placed(base: Base, weights: Path, left: list[str], missing: list[str]) -> None:
    if left or missing:
        examples = ", ".join([*left[:2], *missing[:2]])
        raise _misfit(
            base,
            f"{weights}: {len(left)} tensors found no place, {len(missing)} places found no tensor ({examples})",
        )


def _require_effect(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Refuse an adapter that is empty or whose every update is zero: it would be served with no effect and no error."""
    first = {name: name.replace(".lora_B.", ".lora_A.") for name in tensors if ".lora_B." in name}
    acts = any(bool(tensors[b].any()) and (a not in tensors or bool(tensors[a].any())) for b, a in first.items())
    others = [tensor for name, tensor in tensors.items() if ".lora_" not in name]
    if not acts and not any(bool(tensor.any()) for tensor in others):
        raise ModelError(f"{path}: {len(tensors)} tensors, none of which changes the base", "a trained adapter")


def _require_head(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Refuse an adapter whose head was not saved: PEFT would leave the head as it starts, and say nothing."""
    if not any(name.endswith(f"{HEAD_NAME}.weight") for name in tensors):
        raise ModelError(f"{path}: no tensor of the head ({HEAD_NAME}.weight)", "the head that was trained")


@torch.no_grad()
def _require_difference(whole: torch.nn.Module, model: PeftModel, path: Path) -> None:
    """Refuse an adapter that answers exactly as its base does, whatever its numbers are (a factor of one, say)."""
    if isinstance(whole, Virtual) or isinstance(model.peft_config["default"], LoraConfig):
        return
    was_training = model.training
    model.eval()
    ids = torch.tensor([_telling(model.peft_config["default"])], device=next(model.parameters()).device)
    answer = model(input_ids=ids, use_cache=False).logits
    with model.disable_adapter():
        same = torch.equal(answer, model(input_ids=ids, use_cache=False).logits)
    model.train(was_training)
    if same:
        raise ModelError(f"{path}: answers exactly as the base does", "a trained adapter")


def has_whole_modules(folder: Path) -> bool:
    """Tell whether an adapter brings modules of the base whole: they take the place of what has weights to train."""
    path = folder / ADAPTER_CONFIG
    return path.is_file() and bool(read_json(path).get("modules_to_save"))


def _telling(config: PeftConfig) -> list[int]:
    """Return tokens whose reading shows what an adapter does: the first of the vocabulary, and those that it learns."""
    return [*range(8), *(config.token_indices if isinstance(config, TrainableTokensConfig) else ())]


def _attach_bottlenecks(plain: PreTrainedModel, base: Base, folder: Path) -> PreTrainedModel:
    config, weights = folder / BOTTLENECK_CONFIG, folder / BOTTLENECK_WEIGHTS
    check_safetensors(weights)
    facts = read_json(config)
    if facts.get("format") != BOTTLENECK_FORMAT:
        raise ModelError(f"{config}: format {facts.get('format')!r}", f"format {BOTTLENECK_FORMAT}")
    values = {name: value for name, value in facts.items() if name not in ("format", "base")}
    tensors = load_file(str(weights))
    try:
        model = bottleneck.add_bottlenecks(plain, build(BottleneckSettings, values, str(config)))
        places = bottleneck.state(model)
        left, missing = sorted(tensors.keys() - places.keys()), sorted(places.keys() - tensors.keys())
        _require_all_placed(base, weights, left, missing)
        model.load_state_dict(tensors, strict=False)
    except ModelError:
        raise
    except LIBRARY_FAULTS as error:
        raise _misfit(base, f"{folder}: the modules do not fit ({error})") from error
    if not any(bool(tensor.any()) for name, tensor in tensors.items() if ".up." in name):
        raise ModelError(f"{weights}: {len(tensors)} tensors, none of which changes the base", "trained modules")
    return model
