"""Which detectors the digits of a text can matter to: one scan instead of one for each; it never says no wrongly."""

import re
from typing import NamedTuple

_RUN = re.compile(r"\d+")
_BESIDE = 3
"""Characters between digits of one number, at most. A number that means something alone has at least seven digits, one
of a document six characters, that of a house at most six digits."""

_GAPS = frozenset(" -")
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
        numbers = numbers or size > 6 or before.isalpha() or (last is not None and start - last <= _BESIDE)
        lettered = (
            lettered or size > 5 or before.isupper() or (before in _GAPS and text[start - 2 : start - 1].isupper())
        )
        documents = documents or size > 5 or before.isalnum() or behind.isalnum() or before == "-" or behind == "-"
        addresses = addresses or (size < 7 and _may_be_house(text, end, before, behind))
        last = end
        if numbers and lettered and documents and addresses:
            break
    if last is None:
        return None
    return Glimpse(
        numbers or text.count(":") > 1, lettered, documents,
        addresses or "ox " in text or "PO " in text or "Post" in text,
    )  # fmt: skip


def _may_be_house(text: str, end: int, before: str, behind: str) -> bool:
    """Tell whether digits may be the number of a house: no part of a word, a price, a decimal or a time of day."""
    if behind in _NOT_BEHIND_HOUSE or before in _NOT_BEFORE_HOUSE or before.isalnum():
        return False
    return not (behind in (".", ",") and text[end + 1 : end + 2].isdecimal())
