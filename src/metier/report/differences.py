"""Where two answers differ, word by word, so that a reader need not search."""

import re
from difflib import SequenceMatcher

_WORD = re.compile(r"\s+|\w+|[^\w\s]")
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
