"""Finds texts that teach a model nothing, or teach it to go round in circles."""

import unicodedata

SAYS_NOTHING = "says nothing"
LOOPS = "ends in a loop"

_PLACEHOLDERS = {"undefined", "nan", "[object object]", "#ref!", "#n/a", "#value!", "#name?", "<na>", "(null)"}
_LONGEST_UNIT = 400
_FEWEST_REPEATS = 4
_SHORTEST_LOOP = 60
_TAIL = 12


def found(text: str) -> str:
    """Return what is wrong with a text, "" when nothing is."""
    if _says_nothing(text):
        return SAYS_NOTHING
    return LOOPS if loop(text) else ""


def _says_nothing(text: str) -> bool:
    short = text[:64].strip()
    if short.isalnum():
        return short.lower() in _PLACEHOLDERS
    if any(character.isalnum() for character in short):
        return len(text) <= 64 and short.lower() in _PLACEHOLDERS
    return all(unicodedata.category(character)[0] in "PZC" for character in text)


def loop(text: str) -> int:
    """Return the length in characters of what the end of a text repeats over and over, 0 when it does not.

    A loop is at least four times the same, without a break, up to the very end (where it may be cut off), and 60
    characters long; rulers of signs alone are none.
    """
    text = text.rstrip()
    if len(text) < _SHORTEST_LOOP or text.count(text[-_TAIL:]) < _FEWEST_REPEATS - 1:
        return 0
    for unit in range(1, min(_LONGEST_UNIT, len(text) // _FEWEST_REPEATS) + 1):
        length = max((_FEWEST_REPEATS - 1) * unit, _SHORTEST_LOOP - unit)
        if text[-length:] == text[-length - unit : -unit]:
            return unit if any(character.isalnum() for character in text[-unit:]) else 0
    return 0
