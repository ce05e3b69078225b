"""Where two answers differ, word by word, so that a reader need not search."""

import re
from difflib import SequenceMatcher

_WORD = re.compile(r"\s+|\w+|[^\w\s]")
_LETTERS = re.compile(r"\w")
_ALIKE_SHARE = 0.2
_MOST_WORDS = 1500
"""Above this many words the comparison (quadratic at worst) is not made."""


def parts(reference: str, output: str) -> list[tuple[str, bool]]:
    """Cut `output` into pieces, each with whether it also stands in `reference` at that place.

    Joined together the pieces are `output` again. Texts above 1,500 words come back as one piece.
    """
    wanted, found = _WORD.findall(reference), _WORD.findall(output)
    if output == reference:
        return [(output, True)]
    if max(len(wanted), len(found)) > _MOST_WORDS or not found:
        return [(output, False)]
    matcher = SequenceMatcher(None, wanted, found, autojunk=False)
    pieces: list[tuple[str, bool]] = []
    for kind, _, _, start, end in matcher.get_opcodes():
        if end > start:
            pieces.append(("".join(found[start:end]), kind == "equal"))
    return pieces


def is_alike(pieces: list[tuple[str, bool]]) -> bool:
    """Tell whether so much is the same that marking the rest helps: a fifth of the letters and digits or more."""
    same, all_ = (sum(len(_LETTERS.findall(text)) for text, kept in pieces if kept or other) for other in (False, True))
    return same >= _ALIKE_SHARE * max(1, all_)
