"""Which detectors the digits of a text can matter to: one scan instead of one for each; it never says no wrongly."""

import re
from typing import NamedTuple

_RUN = re.compile(r"\d+")
_BESIDE = 3
"""Characters between digits of one number, at most."""

_FEWEST_OF_NUMBER = 7
_FEWEST_OF_DOCUMENT = 6
_MOST_OF_HOUSE = 6
_NOT_BEFORE_HOUSE = frozenset("_.,$€£#:")
_NOT_BEHIND_HOUSE = frozenset("_%:")


class Glimpse(NamedTuple):
    """What the digits of a text may be part of: `numbers`, ids with letters, numbers of documents, addresses."""

    numbers: bool
    lettered: bool
    documents: bool
    addresses: bool


def glimpse(text: str) -> Glimpse | None:
    """Look at what stands beside the digits of a text; None: it has none."""
    numbers = lettered = documents = addresses = False
    last = None
    for run in _RUN.finditer(text):
        start, end = run.span()
        size, before, behind = end - start, text[start - 1 : start], text[end : end + 1]
        numbers = numbers or size >= _FEWEST_OF_NUMBER or before.isalpha() or _follows(last, start)
        lettered = lettered or size >= _FEWEST_OF_DOCUMENT or before.isupper() or _behind_capital(text, start, before)
        documents = documents or size >= _FEWEST_OF_DOCUMENT or _goes_on(before) or _goes_on(behind)
        addresses = addresses or (size <= _MOST_OF_HOUSE and _may_be_house(text, end, before, behind))
        last = end
        if numbers and lettered and documents and addresses:
            break
    if last is None:
        return None
    return Glimpse(
        numbers or text.count(":") > 1, lettered, documents,
        addresses or "ox " in text or "PO " in text or "Post" in text,
    )  # fmt: skip


def _follows(last: int | None, start: int) -> bool:
    return last is not None and start - last <= _BESIDE


def _behind_capital(text: str, start: int, before: str) -> bool:
    return before in (" ", "-") and text[start - 2 : start - 1].isupper()


def _goes_on(beside: str) -> bool:
    return beside.isalnum() or beside == "-"


def _may_be_house(text: str, end: int, before: str, behind: str) -> bool:
    """Tell whether digits may be the number of a house: no part of a word, a price, a decimal or a time of day."""
    if before.isalnum() or before in _NOT_BEFORE_HOUSE or behind in _NOT_BEHIND_HOUSE:
        return False
    return not (behind in (".", ",") and text[end + 1 : end + 2].isdecimal())
