"""Low-rank adapters beside frozen weights: LoRA with everything that PEFT adds to it without looking at data."""

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.other import get_pattern_key
from transformers import PreTrainedModel

from metier.core.errors import SettingsError
from metier.model.find import Base
from metier.model.head import head_of
from metier.model.layers import linear_layers
from metier.model.lora import CUSTOM_MODULES
from metier.model.settings import ModelSettings
from metier.model.ways.library import wrap


def add_lora(model: PreTrainedModel, base: Base, settings: ModelSettings, *, seed: int) -> PeftModel:
    """Put LoRA adapters into a frozen model.

    Raises:
        SettingsError: a target, a pattern or a module that names nothing, or settings that exclude each other.
    """
    _require_targets(model, base, settings.targets or ())
    saved, is_tied = _saved_modules(model, base, settings.lora.save_modules)
    chosen = settings.lora
    config = LoraConfig(
        task_type="CAUSAL_LM" if head_of(model) is None else "SEQ_CLS",
        r=settings.rank,
        lora_alpha=settings.alpha if settings.alpha is not None else 2 * settings.rank,  # pyrefly: ignore
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets) if settings.targets else "all-linear",
        init_lora_weights=_library_name(settings),  # pyrefly: ignore
        use_rslora=chosen.rslora,
        use_dora=chosen.dora,
        rank_pattern=dict(chosen.rank_pattern),
        alpha_pattern=dict(chosen.alpha_pattern),
        modules_to_save=saved or None,
        ensure_weight_tying=is_tied,
    )
    config._register_custom_module(CUSTOM_MODULES)
    adapted = wrap(model, base, config, seed=seed, where="model.lora")
    _require_patterns(adapted, settings)
    return adapted


def _library_name(settings: ModelSettings) -> bool | str:
    init = settings.lora.init
    if init == "pissa-niter":
        return f"pissa_niter_{settings.lora.init_iterations}"
    return True if init == "default" else init


def _require_targets(model: PreTrainedModel, base: Base, targets: tuple[str, ...]) -> None:
    """Refuse targets that name nothing, and a head that is the embedding too: merged, it would change both."""
    linear = linear_layers(model)
    unknown = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in linear)]
    if unknown:
        names = sorted({name.rpartition(".")[2] for name in linear})
        raise SettingsError(f"model.targets: {', '.join(unknown)} not in {base.name}", f"some of {', '.join(names)}")
    embedding = model.get_input_embeddings().weight
    tied = [name for name, module in linear.items() if module.weight is embedding]
    for name in tied:
        if any(f".{name}".endswith(f".{target}") for target in targets):
            raise SettingsError(f"model.targets: {name} shares its weights with the embedding", "other layers")


def _saved_modules(model: PreTrainedModel, base: Base, wanted: tuple[str, ...]) -> tuple[list[str], bool]:
    """Return the names of the modules to train whole, and whether embedding and head have to stay one."""
    modules = dict(model.named_modules())
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    ends = {"embeddings": embedding, "head": head}
    chosen: dict[str, torch.nn.Module] = {}
    for name in wanted:
        # Whole names: PEFT would take `norm` for the end of `input_layernorm`, too.
        found = {
            place: module
            for place, module in modules.items()
            if (module is ends[name] if name in ends else place and f".{place}".endswith(f".{name}"))
        }
        if not found:
            known = sorted({place.rpartition(".")[2] for place in modules if place and not place[-1].isdigit()})
            raise SettingsError(
                f"model.lora.save_modules: {name!r} not in {base.name}",
                f"'embeddings', 'head', or some of {', '.join(known)}",
            )
        chosen |= found
    is_shared = head is not None and head.weight is embedding.weight
    return list(chosen), is_shared and any(module in (embedding, head) for module in chosen.values())


def _require_patterns(model: PeftModel, settings: ModelSettings) -> None:
    """Refuse a pattern that fits no adapter: the library would pass over it without a word."""
    names = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    patterns = {"rank_pattern": settings.lora.rank_pattern, "alpha_pattern": settings.lora.alpha_pattern}
    for field, pattern in patterns.items():
        used = {get_pattern_key(list(pattern), name) for name in names}
        idle = [key for key in pattern if key not in used]
        if idle:
            endings = sorted({name.rpartition(".")[2] for name in names})
            raise SettingsError(
                f"model.lora.{field}: {', '.join(idle)} names no adapter", f"some of {', '.join(endings)}"
            )
