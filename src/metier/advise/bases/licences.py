"""What a base's licence allows and asks, from a table of well-known licences; what is not in it is not known.

Read from the model card's `license`, `license_name` and `base_model` and from the text of LICENSE; imports no torch.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

Commercial = Literal["yes", "no", "limits", "not known"]

_STRICTNESS: Mapping[Commercial, int] = {"yes": 0, "limits": 1, "not known": 2, "no": 3}
_MOST_BYTES = 1 << 18
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_TEXTS = ("LICENSE*", "LICENCE*", "COPYING*", "license*", "licence*")
_FAMILIES = {"meta-llama/": "llama", "google/gemma": "gemma", "mistralai/mistral-large": "mrl"}
"""Where bases come from -> how the names of licences begin that what is made of them keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """A licence in our words: "" where it says nothing of a thing.

    `clause` names where it stands in its text; `checked`: the text itself was read for this.
    """

    names: tuple[str, ...]
    title: str
    commercial: Commercial
    clause: str
    limits: str = ""
    naming: str = ""
    outputs: str = ""
    pass_on: str = ""
    marks: tuple[str, ...] = ()
    checked: bool = False

    @property
    def where(self) -> str:
        """Return where it stands, and whether that was looked up."""
        return self.clause if self.checked else f"{self.clause}; not checked against its text"

    @property
    def asks(self) -> tuple[tuple[str, str], ...]:
        """Return what it restricts or asks: (of what, what)."""
        commercial = {"no": "not allowed", "limits": self.limits, "yes": "", "not known": ""}[self.commercial]
        pairs = (
            ("commercial use", commercial), ("sharing", self.limits if self.commercial == "no" else ""),
            ("name", self.naming), ("outputs", self.outputs), ("pass on", self.pass_on),
        )  # fmt: skip
        return tuple((name, text) for name, text in pairs if text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of a base's licence: `licence` None where it is not known; `source` is what says so.

    `doubts` are what does not fit together, each a sentence.
    """

    licence: Licence | None
    said: str
    source: str
    doubts: tuple[str, ...] = ()
    strictest: Commercial = "not known"

    @property
    def name(self) -> str:
        """Return what it is called in a table."""
        return self.licence.title if self.licence is not None else self.said or "not known"


@cache
def table() -> tuple[Licence, ...]:
    """Return the licences that we know."""
    text = (Path(__file__).parent / "licences.toml").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)["licence"]
    found = []
    for entry in entries:
        values: dict[str, Any] = entry | {key: tuple(entry.get(key, ())) for key in ("names", "marks")}
        found.append(Licence(**values))
    return tuple(found)


def named(name: str) -> Licence | None:
    """Return the licence of an identifier such as "apache-2.0"."""
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    return next((entry for entry in table() if plain in entry.names), None)


def recognised(text: str) -> Licence | None:
    """Return the licence whose own words a text holds; of several, the one with the most of them."""
    plain = " ".join(text.lower().split())
    fitting = [
        entry for entry in table()
        if entry.marks and all(any(word in plain for word in mark.split("|")) for mark in entry.marks)
    ]  # fmt: skip
    return max(fitting, key=lambda entry: sum(map(len, entry.marks)), default=None)


def of(folder: Path) -> Found:
    """Find out under which licence a base stands, from its card and its licence file."""
    card = _card(folder / "README.md")
    names = [str(card[key]) for key in ("license_name", "license") if isinstance(card.get(key), str)]
    names = [name for name in names if name.lower() != "other"]
    by_card = next((found for name in names if (found := named(name)) is not None), None)
    path, by_text = _text(folder)
    said = names[0] if names else ""
    doubts = []
    if by_card is not None and by_text is not None and by_card.title != by_text.title:
        doubts.append(f"README.md says {by_card.title}, {path} is {by_text.title}: the text binds")
    found = by_text or by_card
    doubts += _of_parents(card, found)
    if path and by_text is None:
        doubts.append(f"the text of {path} is none that is known here: read it")
    known = [entry.commercial for entry in (by_text, by_card) if entry is not None]
    strictest: Commercial = max(known, key=lambda word: _STRICTNESS[word], default="not known")
    source = path if by_text is not None else "README.md" if names else ""
    return Found(licence=found, said=said, source=source, doubts=tuple(doubts), strictest=strictest)


def _of_parents(card: Mapping[str, Any], found: Licence | None) -> list[str]:
    """Say where a model made of another has a licence that the other's does not allow."""
    parents = card.get("base_model")
    doubts = []
    for parent in [parents] if isinstance(parents, str) else parents if isinstance(parents, list) else []:
        begin = next((name for start, name in _FAMILIES.items() if str(parent).lower().startswith(start)), None)
        if begin is not None and found is not None and not any(name.startswith(begin) for name in found.names):
            doubts.append(f"made of {parent}, whose licence goes with what is made of it; the card says {found.title}")
    return doubts


def _card(path: Path) -> dict[str, Any]:
    """Return the front matter of a model card; {} where there is none that can be read."""
    match = _FRONT.match(_read(path))
    if match is None:
        return {}
    try:
        found = yaml.safe_load(match.group(1))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(folder: Path) -> tuple[str, Licence | None]:
    """Return the name of the licence file ("" where there is none) and whose text it is."""
    paths = sorted({path for pattern in _TEXTS for path in folder.glob(pattern) if path.is_file()})
    for path in paths:
        if (found := recognised(_read(path))) is not None:
            return path.name, found
    return (paths[0].name if paths else "", None)


def _read(path: Path) -> str:
    """Return the beginning of a text file, whatever bytes are in it; "" where there is none."""
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
