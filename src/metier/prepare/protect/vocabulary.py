"""The word lists of the rules, read from the files beside this one."""

import tomllib
from functools import cache
from importlib import resources

CAPITAL = r"[^\W\d_a-z\u00df-\u00f6\u00f8-\u00ff\u03ac-\u03ce\u0430-\u045f]"
"""A letter that may be a capital: none of the small ones of English, Western Europe, Greek and Cyrillic."""

_FOLDER = "metier.prepare.protect"


def words(name: str) -> frozenset[str]:
    """Return one list of words.toml."""
    return _lists()[name]


def listed(file: str) -> frozenset[str]:
    """Return the words of a file; lines that begin with # are remarks."""
    text = resources.files(_FOLDER).joinpath(file).read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


@cache
def _lists() -> dict[str, frozenset[str]]:
    text = resources.files(_FOLDER).joinpath("words.toml").read_text(encoding="utf-8")
    return {name: frozenset(value.split()) for name, value in tomllib.loads(text).items()}
