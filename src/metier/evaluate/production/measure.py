"""Measure base and tuned model as a service: percentiles of time, tokens a second, memory, cost, prompts spared."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metier.core.errors import SettingsError
from metier.core.types import ChatRow, Row
from metier.evaluate.answer import Decoding
from metier.evaluate.both import Both
from metier.evaluate.production.load import Load, put_under_load
from metier.evaluate.production.settings import ProductionSettings
from metier.score.quantiles import quantile
from metier.text.asking import prompt
from metier.text.render import Renderer

_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is asked: the `prompts` of each model, and how answers are made."""

    prompts: dict[str, list[list[int]]]
    decoding: Decoding
    confidence: float


def with_prompt(rows: Sequence[Row], renderer: Renderer, path: Path) -> list[list[int]]:
    """Return the prompts of rows with another system turn, as the base would be asked instead of being tuned.

    Raises:
        SettingsError: the file is not there.
    """
    if not path.is_file():
        raise SettingsError(f"evaluate.production.prompt: no file {path}", "a text file, relative to metier.yaml")
    text = path.read_text(encoding="utf-8").strip()
    renderer = dataclasses.replace(renderer, settings=renderer.settings.model_copy(update={"system": text}))
    return [prompt(_without_system(row), renderer).ids for row in rows]


def _without_system(row: Row) -> Row:
    if not isinstance(row, ChatRow):
        return row
    turns = tuple(turn for turn in row.messages if turn.role not in ("system", "developer"))
    return dataclasses.replace(row, messages=turns)


def measure(asked: Service, both: Both, settings: ProductionSettings) -> dict[str, Any]:
    """Put base, then tuned model, under each load.

    Returns:
        `requests`; `base` and `tuned`: mean tokens of a prompt, cost of 1,000 requests, and under `levels` by
        concurrency seconds to the first token and to the end (p50, p95, p99, each with its interval), tokens and
        requests a second, and memory; `spared`: prompt tokens that a request to the tuned model does without.
    """
    found: dict[str, Any] = {"requests": len(asked.prompts["tuned"])}
    for name, prompts in asked.prompts.items():
        loads = [
            put_under_load(
                both.model(name), prompts, together=together, most_tokens=asked.decoding.max_new_tokens,
                stop_ids=asked.decoding.stop_ids, progress=both.progress,
            )
            for together in settings.concurrency
        ]  # fmt: skip
        found[name] = _told(prompts, loads, settings, asked.confidence)
    found["spared"] = found["base"]["prompt_tokens"] - found["tuned"]["prompt_tokens"]
    return found


def _told(
    prompts: Sequence[Sequence[int]], loads: Sequence[Load], settings: ProductionSettings, confidence: float
) -> dict[str, Any]:
    count, last = len(prompts), loads[-1]
    sent = sum(len(each) for each in prompts) / count
    cost = settings.prices.cost(sent=sent, received=last.written / count, seconds=last.seconds / count)
    levels = [
        {
            "together": together,
            "first_token": _quantiles(load.first, confidence),
            "latency": _quantiles(load.whole, confidence),
            "tokens_per_second": load.written / load.seconds,
            "requests_per_second": count / load.seconds,
            "memory_bytes": load.memory_bytes,
        }
        for together, load in zip(settings.concurrency, loads, strict=True)
    ]
    return {"prompt_tokens": sent, "new_tokens": last.written / count, "cost": cost, "levels": levels}


def _quantiles(values: Sequence[float], confidence: float) -> dict[str, Any]:
    found = {}
    for name, share in _SHARES.items():
        ends = dataclasses.asdict(quantile(values, share, confidence))
        found[name] = {end: value if math.isfinite(value) else None for end, value in ends.items()}
    return found
