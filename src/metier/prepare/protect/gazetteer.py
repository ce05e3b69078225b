"""Which words are names: the given and family names, countries and cities that Faker ships for about 70 countries."""

import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from types import ModuleType
from typing import Any

from faker.providers import address, lorem, person

_KNOWN_AS_PLACES = frozenset(
    "Adelaide Alexandria America Asia Athens Atlanta Augusta Austin Berlin Boston Brooklyn Camden Carolina Chelsea Chester"
    " Cleveland Dakota Dallas Denver Devon Dublin Durham Florence Florida Francisco Geneva Georgia Holland Houston India"
    " Israel Jordan Kent Lima Lincoln London Lourdes Madison Madrid Manchester Medina Milan Montana Nevada Odessa Orlando"
    " Oxford Paris Philadelphia Phoenix Preston Regina Rome Salem San Santa Santiago Savannah Sofia Sydney Trinidad"
    " Troy Valencia Venice Verona Vienna Virginia Warsaw Washington York Zion".split()
)
"""Names of places that are names of persons too, and of which the place is what people mean first."""


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
    given, family = frozenset(_words(person, "first_name")), frozenset(_words(person, "last_name"))
    both, stop = _ours("plain_words.txt"), _ours("stop_words.txt") | frozenset(_words(lorem, "word_list", "en_US"))
    plain, places = both | stop, frozenset(_places(given))
    strong = frozenset(name for name in given | family if name.lower() not in plain and name not in places)
    weak = frozenset(name for name in given | family if len(name) > 2 and name not in strong and name.lower() not in stop
        and (name in given or name not in places))
    return Gazetteer(
        given=given,
        family=family,
        plain=plain,
        stop=stop,
        places=places,
        strong=strong | frozenset(name.upper() for name in strong if len(name) > 3),
        weak=weak,
        small=frozenset(name.lower() for name in strong if len(name) > 3),
    )


def _ours(name: str) -> frozenset[str]:
    text = resources.files("metier.prepare.protect").joinpath(name).read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def _providers(package: ModuleType, language: str = "") -> Iterator[Any]:
    for module in pkgutil.iter_modules(package.__path__):
        if not language or module.name == language:
            yield import_module(f"{package.__name__}.{module.name}").Provider


def _lists(provider: Any, beginnings: tuple[str, ...]) -> Iterator[str]:
    for name, value in vars(provider).items():
        if name.startswith(beginnings) and isinstance(value, (tuple, list, dict, Mapping)):
            yield from (entry for entry in value if isinstance(entry, str))


def _words(package: ModuleType, beginning: str, language: str = "") -> Iterator[str]:
    """Yield the single words of lists such as `first_names_female`."""
    for provider in _providers(package, language):
        for entry in _lists(provider, (beginning,)):
            yield from (word for word in entry.replace("-", " ").split() if len(word) > 1 and "{" not in word)


def _places(given: frozenset[str]) -> Iterator[str]:
    """Yield countries, states, and those cities that are not given names, unless the city is the first thing meant."""
    yield from _KNOWN_AS_PLACES
    for provider in _providers(address):
        for entry in _lists(provider, ("countries", "states", "provinces")):
            yield from (word for word in entry.split() if len(word) > 3 and word[0].isupper())
        for entry in _lists(provider, ("cities", "city_names")):
            if "{" not in entry and not entry.islower():
                yield from (word for word in entry.split() if len(word) > 3 and word[0].isupper() and word not in given)
