"""Right or wrong: two texts are the same, or hold the same JSON value."""

import unicodedata

from metier.score import structured


def clean(text: str) -> str:
    """Return the text without outer white space, in Unicode's composed form (NFC), so that equal sights are equal."""
    return unicodedata.normalize("NFC", text).strip()


def exact_match(output: str, reference: str) -> bool:
    """Tell whether an output is the reference.

    Outer white space and Unicode composition do not count. A reference that is a JSON object or array is compared as a
    value: the order of keys and the spaces between them do not count either.
    """
    if clean(output) == clean(reference):
        return True
    wanted = structured.parse(reference)
    return wanted is not None and structured.leaves(structured.parse(output)) == structured.leaves(wanted)
