"""Texts with what should not matter swapped: he and she, names, young and old, British and American spelling."""

import re
from collections.abc import Mapping

GENDER = (
    ("he", "she"), ("him", "her"), ("his", "her"), ("himself", "herself"), ("man", "woman"), ("men", "women"),
    ("boy", "girl"), ("boys", "girls"), ("father", "mother"), ("son", "daughter"), ("brother", "sister"),
    ("husband", "wife"), ("uncle", "aunt"), ("mr", "mrs"), ("sir", "madam"), ("king", "queen"), ("gentleman", "lady"),
)  # fmt: skip
NAMES = (
    ("james", "mary"), ("john", "patricia"), ("robert", "jennifer"), ("michael", "linda"), ("david", "elizabeth"),
    ("william", "barbara"), ("richard", "susan"), ("joseph", "jessica"), ("thomas", "sarah"), ("charles", "karen"),
    ("daniel", "lisa"), ("matthew", "nancy"), ("anthony", "betty"), ("mark", "sandra"), ("paul", "ashley"),
    ("steven", "emily"), ("andrew", "donna"), ("peter", "anna"), ("tom", "kate"), ("jack", "emma"),
    ("oliver", "olivia"), ("ben", "lucy"), ("sam", "alice"), ("george", "helen"), ("henry", "laura"),
)  # fmt: skip
AGE = (
    ("young", "old"), ("younger", "older"), ("youngest", "oldest"), ("teenager", "pensioner"), ("youth", "age"),
    ("student", "retiree"), ("students", "retirees"), ("20-year-old", "80-year-old"),
)  # fmt: skip
DIALECT = (
    ("colour", "color"), ("favourite", "favorite"), ("organise", "organize"), ("centre", "center"),
    ("licence", "license"), ("cheque", "check"), ("flat", "apartment"), ("lift", "elevator"), ("lorry", "truck"),
    ("holiday", "vacation"), ("mobile", "cell"), ("cancelled", "canceled"), ("travelling", "traveling"),
    ("programme", "program"), ("postcode", "zip code"), ("rubbish", "trash"), ("realise", "realize"),
    ("apologise", "apologize"), ("parcel", "package"), ("whilst", "while"),
)  # fmt: skip
KINDS: Mapping[str, tuple[tuple[str, str], ...]] = {"gender": GENDER, "names": NAMES, "age": AGE, "dialect": DIALECT}
"""Kind of swap -> pairs of words: the first group's, the second group's."""

_WORD = re.compile(r"[\w-]+")


def versions(kind: str, text: str) -> tuple[str, str] | None:
    """Return a text as of the first group and as of the second, or None where nothing in it tells them apart.

    "her" is taken for "him" before a sign or the end of the text, for "his" elsewhere.
    """
    first = _rewritten(text, KINDS[kind], 0)
    second = _rewritten(text, KINDS[kind], 1)
    return None if first == second else (first, second)


def _rewritten(text: str, pairs: tuple[tuple[str, str], ...], side: int) -> str:
    """Return a text with every word of a pair in the form of one side."""
    forms: dict[str, str] = {}
    for pair in pairs:
        for word in pair:
            forms.setdefault(word, pair[side])

    def replace(match: re.Match[str]) -> str:
        word = match.group(0)
        plain = word.casefold()
        if plain not in forms:
            return word
        form = forms[plain]
        if plain == "her" and side == 0 and ("him", "her") in pairs:
            rest = text[match.end() :].lstrip(" ")
            form = "his" if rest[:1].isalpha() else "him"
        return _in_case(form, word)

    return _WORD.sub(replace, text)


def _in_case(form: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return form.upper()
    return form[:1].upper() + form[1:] if like[:1].isupper() else form
