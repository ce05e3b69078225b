"""A head on a base: the library's own model for sequence classification around the decoder that is there already."""

import copy
from typing import Literal

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from metier.core.errors import ModelError, SettingsError
from metier.model.quiet import LIBRARY_FAULTS, quiet
from metier.model.settings import ModelSettings
from metier.text.targets import HeadKind, Targets

NAME = "score"
"""What the library calls the linear layer behind a decoder; PEFT saves a layer of this name with its adapter."""

_PROBLEMS: dict[HeadKind, Literal["single_label_classification", "multi_label_classification", "regression"]] = {
    "classify": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regress": "regression",
}


def give_head(model: PreTrainedModel, targets: Targets) -> PreTrainedModel:
    """Put a head in place of a causal model's vocabulary.

    The head is zero ("every label alike"; a number: the mean) until it is given its start. The decoder
    is the one of `model`, not a copy.

    Args:
        model: a loaded causal language model, plain or quantised, without adapters.
        targets: how many outputs, and what they are called in config.json.

    Raises:
        ModelError: the library has no such model for this architecture.
    """
    config = copy.deepcopy(model.config)
    config.id2label = dict(enumerate(targets.labels))
    config.label2id = {label: number for number, label in enumerate(targets.labels)}
    config.problem_type = _PROBLEMS[targets.kind]
    if config.pad_token_id is None and model.generation_config is not None:  # the library pads by it to read the head
        config.pad_token_id = model.generation_config.pad_token_id
    kind = AutoModelForSequenceClassification._model_mapping.get(type(config), None)
    if kind is None:
        raise ModelError(
            f"{config.model_type}: transformers has no model with a head for it", "an architecture that has one",
            "set train.objective: chat, which learns to write the label",
        )  # fmt: skip
    try:
        with quiet(), torch.device("meta"):
            headed = kind(config)
    except LIBRARY_FAULTS as error:
        raise ModelError(f"{config.model_type}: no head can be added ({error})", "a decoder that takes one") from error
    head = dict(headed.named_children()).get(NAME)
    if not isinstance(head, torch.nn.Linear) or head.bias is not None:
        raise ModelError(f"{config.model_type}: its head is no plain linear layer", "train.objective: chat")
    weight = next(model.parameters())
    setattr(headed, headed.base_model_prefix, model.base_model)
    dtype = weight.dtype if weight.is_floating_point() else torch.float32
    plain = torch.nn.Linear(head.in_features, head.out_features, bias=False, device=weight.device, dtype=dtype)
    torch.nn.init.zeros_(plain.weight)
    setattr(headed, NAME, plain)
    return headed.eval()


def require_method(method: str, settings: ModelSettings) -> None:
    """Check that a method trains a head too; the others save no head, or put tokens before the place that it reads.

    Raises:
        SettingsError: neither full, layers nor LoRA, or beside a base of few bits.
    """
    if method not in ("full", "layers", "lora"):
        raise SettingsError(
            f"model.method {method!r} under a head", "full, layers or lora",
            "set train.objective: chat to keep the method",
        )  # fmt: skip
    if settings.quantise != "none":
        raise SettingsError(
            f"model.quantise {settings.quantise!r} under a head", "none",
            "set train.objective: chat to keep the base in few bits",
        )  # fmt: skip


def head_of(model: torch.nn.Module) -> torch.nn.Module | None:
    """Return the head of a model, with an adapter's copy of it where one is active; None: it writes text."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    if not type(inner).__name__.endswith("ForSequenceClassification"):
        return None
    assert isinstance(inner, torch.nn.Module)
    return inner.get_submodule(NAME)
