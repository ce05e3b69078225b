"""What two models must have in common before a difference between their answers says anything; imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from metier.core import digest

_ROWS = {"split": "split", "snapshot": "snapshot", "rows_digest": "rows"}
"""Conditions without which rows cannot even be paired."""

_ASKED = {"renderer": "template", "decoding": "decoding"}
"""Conditions of being asked, alike wherever the tokenizer is; two bases with other tokens have their own."""

_COMPUTED = {"precision": "number format", "device": "device", "batches": "batch plan"}


def batch_plan(prompts: Sequence[Sequence[int] | None], most_new: int) -> str:
    """Name all that decides which prompts are decoded together: their lengths, the limit, this machine's memory."""
    lengths = [len(prompt) for prompt in prompts if prompt is not None]
    return digest.of_value([lengths, most_new, psutil.virtual_memory().total])[:16]


def unpairable(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return what keeps the rows of two evaluations from being paired, by the conditions that they recorded."""
    return [title for name, title in _ROWS.items() if one[name] != other[name]]


def different(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the conditions under which two evaluations of the same rows were not alike.

    A model behind an endpoint has its own template and number format, as a base with other tokens has: what can be
    alike is what it is sent, and the decoding that it is asked for. A classifier without a language model has neither.
    A prompt that one of the two has in front is what is compared, and with it the prompts' lengths.
    """
    if "classifier" in one or "classifier" in other:
        return []
    if "remote" in one or "remote" in other:
        return _sent_differently(one, other)
    found = [title for name, title in _COMPUTED.items() if one.get(name) != other.get(name)]
    if one.get("prompt") != other.get("prompt"):
        found = [title for title in found if title != _COMPUTED["batches"]]
    if one["tokenizer"] != other["tokenizer"]:
        return [title for title in found if title != _COMPUTED["batches"]]
    return [title for name, title in _ASKED.items() if one[name] != other[name]] + found


def _sent_differently(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    found = ["messages"] if one["renderer"] != other["renderer"] else []
    alike = all(one["decoding"][name] == other["decoding"][name] for name in ("kind", "max_new_tokens"))
    return found if alike else [*found, _ASKED["decoding"]]
