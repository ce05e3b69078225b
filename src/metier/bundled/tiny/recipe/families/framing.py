"""What the families share: the task type, the word lists and the wording around a task."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

RECIPE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Task:
    """One task: turns of user and assistant, an optional system prompt, and the kind of its answers."""

    turns: tuple[tuple[str, str], ...]
    system: str | None = None
    is_json: bool = False
    is_free_text: bool = False


Family = Callable[[Random], Task]


@cache
def _tables(name: str) -> dict:
    return tomllib.loads((RECIPE / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def words(name: str) -> tuple[str, ...]:
    """Return a word list of words.toml."""
    return tuple(dict.fromkeys(_tables("words")[name].split()))


@cache
def pairs(name: str) -> tuple[tuple[str, str], ...]:
    """Return a list of word pairs of words.toml."""
    return tuple((left, right) for left, right in (entry.split(":") for entry in words(name)))


@cache
def lines(name: str) -> tuple[str, ...]:
    """Return the lines of one text of facts.toml."""
    return tuple(line for line in _tables("facts")[name].splitlines() if line)


def domains() -> dict[str, dict]:
    """Return the toy domains: name to slots, each slot from label to sentences."""
    return _tables("domains")


def ask(random: Random, phrasings: tuple[str, ...], **values: object) -> str:
    """Return one of the phrasings, filled in."""
    return random.choice(phrasings).format(**values)


def single(prompt: str, answer: object, is_json: bool = False) -> Task:
    """Return a task of one turn."""
    return Task(turns=((prompt, str(answer)),), is_json=is_json)


def to_json(value: object) -> str:
    """Return compact but readable JSON in one line."""
    return json.dumps(value, ensure_ascii=False)


def fill(random: Random, sentence: str) -> str:
    """Replace {name}, {place}, {n}, {day}, {month} and {object} in a sentence with random words."""
    return sentence.format(
        name=random.choice(words("names")),
        place=random.choice(words("places")),
        n=random.randint(3, 12),
        day=random.choice(words("days")),
        month=random.choice(words("months")),
        object=random.choice(words("objects")),
    )


def sentence(random: Random, length: int) -> str:
    """Return a simple composed sentence of about `length` words."""
    noun, adjective = random.choice(words("nouns")), random.choice(words("adjectives"))
    subject = random.choice((random.choice(words("names")), f"The {adjective} {noun}", f"A {noun}", f"My {noun}"))
    verb = random.choice(words("past")).split(":")[1]
    parts = [subject, verb, random.choice(words("adverbs")), "near the", random.choice(words("nouns"))]
    while len(" ".join(parts).split()) < length:
        link = random.choice(("and the", "with the", "behind the", "under a", "after the"))
        parts += [link, random.choice(words("nouns"))]
    return " ".join(parts) + "."
