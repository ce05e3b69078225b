"""One thing that a suite asks, and what makes an answer to it right; imports no torch."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from metier.core.errors import DataError
from metier.core.types import Message
from metier.score import constraints, refusal, structured
from metier.score.exact import clean

Kind = Literal["choice", "cloze", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question of a suite.

    `choice`: which of `options` the model finds likeliest (by nats a byte where `by_length`), those at `right` being
    right. `cloze`: whether it would continue the text with exactly the only option. `write`: what it writes, looked
    at by `checks`. `turns` goes through the chat template; `text`, where there are no turns, is continued as it is.
    """

    id: str
    kind: Kind
    turns: tuple[Message, ...] = ()
    text: str = ""
    options: tuple[str, ...] = ()
    right: tuple[int, ...] = (0,)
    by_length: bool = False
    mass: bool = False
    checks: tuple[Mapping[str, Any], ...] = ()
    stops: tuple[str, ...] = ()
    slice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named set of items; `what` says in a few words what they ask for, `most_tokens` how long answers may be."""

    name: str
    what: str
    items: tuple[Item, ...]
    most_tokens: int = 0
    left_out: int = 0
    of_bias: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)


def read_shipped(path: Path) -> tuple[Item, ...]:
    """Read items as this package ships them, one JSON object a line.

    `ask` (or `turns`, said in turn by user and assistant) with `right` and `wrong` answers or `checks`; or `good` and
    `bad`, two texts of which the first should be likelier.
    """
    items = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        entry = json.loads(line)
        name = f"{path.stem}-{number:03d}"
        kind = entry.get("slice")
        if "good" in entry:
            options = (entry["good"], entry["bad"])
            items.append(Item(id=name, kind="choice", options=options, slice=kind))
            continue
        turns = _turns(entry.get("turns") or [entry["ask"]])
        if "checks" in entry:
            items.append(Item(id=name, kind="write", turns=turns, checks=tuple(entry["checks"]), slice=kind))
        else:
            options = (entry["right"], *entry["wrong"])
            items.append(Item(id=name, kind="choice", turns=turns, options=options, by_length=True, slice=kind))
    return tuple(items)


def _turns(said: Sequence[str]) -> tuple[Message, ...]:
    """Return a conversation that the user begins and ends; nothing of it is learnt or measured."""
    roles = ("user", "assistant")
    return tuple(Message(role=roles[n % 2], content=text, weight=0.0 if n % 2 else None) for n, text in enumerate(said))


def value(item: Item, nats: Sequence[float], answer: str) -> float:
    """Return how right a model is, in [0, 1].

    Args:
        item: what was asked.
        nats: the surprise of each option, where there are options.
        answer: what the model wrote, where it was to write.
    """
    if item.kind == "choice":
        return _chosen(item, nats)
    if item.kind == "cloze":
        return float(answer == item.options[0])
    for stop in item.stops:
        answer = answer.split(stop, maxsplit=1)[0]
    passed = [passes(check, answer) for check in item.checks]
    return float(all(passed))


def _chosen(item: Item, nats: Sequence[float]) -> float:
    if item.mass:
        least = min(nats)
        weights = [math.exp(least - each) for each in nats]
        return sum(weights[place] for place in item.right) / sum(weights)
    sizes = [max(1, len(option.encode())) if item.by_length else 1 for option in item.options]
    scores = [-each / size for each, size in zip(nats, sizes, strict=True)]
    return float(max(range(len(scores)), key=lambda place: (scores[place], -place)) in item.right)


def passes(check: Mapping[str, Any], answer: str) -> bool:
    """Tell whether an answer passes one check, named by its `kind`.

    Raises:
        DataError: no check is called so.
    """
    kind = str(check["kind"])
    if kind in constraints.KINDS:
        return constraints.follows(kind, answer, check)
    if kind in _CHECKS:
        return _CHECKS[kind](answer, check)
    raise DataError(f"a check called {kind!r}", "one of " + ", ".join([*_CHECKS, *constraints.KINDS]))


def _number(answer: str, check: Mapping[str, Any]) -> bool:
    """Tell whether the last number of an answer is the wanted one; of GSM8K's form, the one after ####."""
    found = re.findall(r"-?[$]?\d[\d,]*(?:\.\d+)?", answer.rsplit("####", maxsplit=1)[-1])
    return bool(found) and float(re.sub(r"[$,]", "", found[-1])) == float(check["is"])


def _equals(answer: str, check: Mapping[str, Any]) -> bool:
    wanted = structured.leaves(check["is"])
    return structured.leaves(structured.parse(answer)) == wanted


_CHECKS: dict[str, Callable[[str, Mapping[str, Any]], bool]] = {
    "says": lambda answer, check: str(check["is"]).casefold() in answer.casefold(),
    "is": lambda answer, check: clean(answer).casefold().rstrip(".") == clean(str(check["is"])).casefold(),
    "number": _number,
    "equals": _equals,
    "keys": lambda answer, check: (
        isinstance(found := structured.parse(answer), dict) and set(check["are"]) <= found.keys()
    ),
    "lower": lambda answer, check: answer.islower(),
    "upper": lambda answer, check: answer.isupper(),
    "declines": lambda answer, check: refusal.declines(answer),
    "answers": lambda answer, check: bool(answer.strip()) and not refusal.declines(answer),
    "gsm8k": lambda answer, check: _gsm8k(answer) == _gsm8k(str(check["is"])),
}


def _gsm8k(text: str) -> str | None:
    """Return the number after #### as it is written, commas, dollars and a last full stop aside."""
    found = re.search(r"#### (-?[0-9.,]+)", text)
    return re.sub(r"[,$]|\.$", "", found.group(1)).casefold() if found else None
