"""Which words are names: the given and family names, countries and cities that Faker ships for about 70 countries."""

import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from metier.core import extras
from metier.prepare.protect.vocabulary import listed, words


@dataclass(frozen=True, slots=True, kw_only=True)
class Gazetteer:
    """Words by what they can be; names as they are written (`Maria`), `plain` and `stop` in small letters.

    `plain` are words of ordinary text, among them names that are words too (`mark`, `rose`); `stop` those of them that
    no sign makes a name. `places` are countries and cities. `strong` are names and nothing else.
    """

    given: frozenset[str]
    family: frozenset[str]
    plain: frozenset[str]
    stop: frozenset[str]
    places: frozenset[str]
    strong: frozenset[str]
    weak: frozenset[str]
    small: frozenset[str]


@cache
def gazetteer() -> Gazetteer:
    """Return the names, read once a process (about 0.2 s)."""
    given, family = frozenset(_words("person", "first_name")), frozenset(_words("person", "last_name"))
    both, stop = listed("plain_words.txt"), listed("stop_words.txt") | frozenset(_words("lorem", "word_list", "en_US"))
    plain, places = both | stop, frozenset(_places(given))
    strong = frozenset(name for name in given | family if name.lower() not in plain and name not in places)
    weak = frozenset(
        name
        for name in given | family
        if len(name) > 2 and name not in strong and name.lower() not in stop and (name in given or name not in places)
    )
    return Gazetteer(
        given=given,
        family=family,
        plain=plain,
        stop=stop,
        places=places,
        strong=strong,
        weak=weak,
        small=frozenset(name.lower() for name in strong if len(name) > 3),
    )


def _providers(kind: str, language: str = "") -> Iterator[Any]:
    package: ModuleType = extras.load(f"faker.providers.{kind}", "protect")
    for module in pkgutil.iter_modules(package.__path__):
        if not language or module.name == language:
            yield extras.load(f"{package.__name__}.{module.name}", "protect").Provider


def _lists(provider: Any, beginnings: tuple[str, ...]) -> Iterator[str]:
    for name, value in vars(provider).items():
        if name.startswith(beginnings) and isinstance(value, (tuple, list, dict, Mapping)):
            yield from (entry for entry in value if isinstance(entry, str))


def _words(kind: str, beginning: str, language: str = "") -> Iterator[str]:
    """Yield the single words of lists such as `first_names_female`."""
    for provider in _providers(kind, language):
        for entry in _lists(provider, (beginning,)):
            yield from (word for word in entry.replace("-", " ").split() if len(word) > 1 and "{" not in word)


def _places(given: frozenset[str]) -> Iterator[str]:
    """Yield countries, states, and those cities that are not given names, unless the city is the first thing meant."""
    yield from words("known_as_places")  # names of persons too, but people mean the place first
    for provider in _providers("address"):
        for entry in _lists(provider, ("countries", "states", "provinces")):
            yield from (word for word in entry.split() if len(word) > 3 and word[0].isupper())
        for entry in _lists(provider, ("cities", "city_names")):
            if "{" not in entry and not entry.islower():
                yield from (word for word in entry.split() if len(word) > 3 and word[0].isupper() and word not in given)
