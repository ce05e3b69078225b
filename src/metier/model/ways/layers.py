"""Chosen layers of the base, trained whole: by number, range, part or name."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from transformers import PreTrainedModel

from metier.core.errors import SettingsError
from metier.model.head import head_of
from metier.model.layers import decoder_layers

_PARTS = {"top-half": 2, "top-third": 3}


def train_layers(model: PreTrainedModel, layers: int | str | tuple[int | str, ...]) -> PreTrainedModel:
    """Mark the chosen weights of a frozen model as those that train.

    Layers chosen by their place bring the final norm with them, which reads what they write; names bring nothing.

    Raises:
        SettingsError: a layer or a name that is not there, or one of two names of shared weights.
    """
    entries: list[int | str] = list(layers) if isinstance(layers, tuple) else [layers]
    stack = decoder_layers(model)
    places = [number for entry in entries for number in _places(entry, len(stack))]
    patterns = [entry for entry in entries if isinstance(entry, str) and _is_pattern(entry)]
    wrong = [number for number in places if not 0 <= number < len(stack)]
    if wrong or not (places or patterns):
        raise SettingsError(f"model.layers: {wrong or list(entries)}", f"layer numbers from 0 to {len(stack) - 1}")
    for number in places:
        stack[number].requires_grad_(True)
    if places and (norm := _final_norm(model, stack)) is not None:
        norm.requires_grad_(True)
    for weight in _named(model, patterns):
        weight.requires_grad_(True)
    if (head := head_of(model)) is not None:
        head.requires_grad_(True)
    return model


def _is_pattern(entry: str) -> bool:
    return entry not in _PARTS and not re.fullmatch(r"\d+(-\d+)?|top-\d+", entry)


def _places(entry: int | str, count: int) -> list[int]:
    """Return the layer numbers that an entry names, none for a pattern."""
    if isinstance(entry, int):
        return [entry]
    if entry in _PARTS:
        return list(range(count - max(1, count // _PARTS[entry]), count))
    if top := re.fullmatch(r"top-(\d+)", entry):
        return list(range(count - int(top[1]), count))
    if numbers := re.fullmatch(r"(\d+)(?:-(\d+))?", entry):
        first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        if last < first:
            raise SettingsError(f"model.layers: {entry!r}", f"'{last}-{first}'")
        return list(range(first, min(last, count) + 1))  # one beyond the end is enough to be refused
    return []


def _final_norm(model: PreTrainedModel, stack: torch.nn.ModuleList) -> torch.nn.Module | None:
    inside = {id(module) for module in stack.modules()}
    norms = [m for m in model.modules() if "norm" in type(m).__name__.lower() and id(m) not in inside]
    return norms[-1] if norms else None


def _named(model: PreTrainedModel, patterns: Iterable[str]) -> list[torch.nn.Parameter]:
    """Return the weights whose own name, or that of a module around them, is like a pattern."""
    named = list(model.named_parameters(remove_duplicate=False))
    chosen: dict[str, torch.nn.Parameter] = {}
    for pattern in patterns:
        found = {name: weight for name, weight in named if any(fnmatchcase(part, pattern) for part in _around(name))}
        if not found:
            examples = ", ".join(list(dict.fromkeys(name for name, _ in named))[:3])
            raise SettingsError(
                f"model.layers: {pattern!r} names no weight and no module",
                "a layer number, a range such as '4-11', 'top-half', 'top-third', 'top-4', or a pattern for names",
                f"names here are like {examples}",
            )
        chosen |= found
    for name, weight in named:
        if name not in chosen and any(weight is other for other in chosen.values()):
            twin = next(other for other, found in chosen.items() if found is weight)
            raise SettingsError(
                f"model.layers: {twin} shares its weights with {name}, which no pattern names",
                "both or neither: they cannot train apart",
            )
    return list(chosen.values())


def _around(name: str) -> list[str]:
    """Return a weight's name and those of the modules around it: a.b.weight -> a, a.b, a.b.weight."""
    parts = name.split(".")
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]
