"""Changes to the wording of a question that leave its meaning and its answer alone; pure functions of text and seed."""

import re
from collections.abc import Collection, Mapping

import numpy as np

_WORD = re.compile(r"[^\W\d_]+")
_TOKEN = re.compile(r"\S+")
_SENTENCE = re.compile(r"(?<=[.!?]) +(?=[^\W\d_a-z])")
_LEANS = re.compile(
    r"(?:It|This|That|These|Those|They|He|She|Then|But|And|So|However|Therefore|Also|Because|Which|If so|Yes|No"
    r"|Otherwise|Instead|Afterwards|Finally|Second|Next|Here|There)\b"
)
_NEIGHBOURS: Mapping[str, str] = {
    "a": "sqz", "b": "vgn", "c": "xvd", "d": "sfe", "e": "wrd", "f": "dgr", "g": "fht", "h": "gjy", "i": "uok",
    "j": "hku", "k": "jli", "l": "kop", "m": "nj", "n": "bmh", "o": "ipl", "p": "ol", "q": "wa", "r": "etf",
    "s": "adw", "t": "ryg", "u": "yij", "v": "cbf", "w": "qes", "x": "zcs", "y": "tuh", "z": "xa",
}  # fmt: skip
"""Keys beside one another on a keyboard."""

_SHORTEST = 4


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text, in small letters: those of an answer are not to be touched in its question."""
    return frozenset(word.lower() for word in _WORD.findall(text))


def with_typos(text: str, share: float, keep: Collection[str], random: np.random.Generator) -> str:
    """Put slips into a share of the words: two letters changed over, one left out, doubled, or its neighbour hit.

    Words of fewer than 4 letters, words in `keep`, and what is no plain word (addresses, codes) stay as they are.
    """
    places = [
        match
        for token in _TOKEN.finditer(text)
        if not re.search(r"[\d@/{}<>_\\=]", token.group())
        for match in _WORD.finditer(text, token.start(), token.end())
        if len(match.group()) >= _SHORTEST and match.group().lower() not in keep
    ]
    if not places:
        return text
    count = max(1, round(share * len(places)))
    chosen = sorted(random.choice(len(places), size=min(count, len(places)), replace=False), reverse=True)
    for number in chosen:
        start, end = places[number].span()
        text = text[:start] + _slip(text[start:end], random) + text[end:]
    return text


def _slip(word: str, random: np.random.Generator) -> str:
    place = int(random.integers(1, len(word) - 1))
    kind = int(random.integers(4))
    if kind == 0 and word[place] != word[place + 1]:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    near = _NEIGHBOURS.get(word[place].lower())
    if kind == 2 and near:
        return word[:place] + near[int(random.integers(len(near)))] + word[place + 1 :]
    return word[:place] + word[place] + word[place:]


def with_other_case(text: str, keep: Collection[str], random: np.random.Generator) -> str:
    """Write the text in small letters, without its first capital, or in capitals; words in `keep` stay."""
    kind = int(random.integers(3))
    if kind == 1:
        first = _WORD.search(text)
        if first is None or first.group().lower() in keep or not first.group()[1:].islower():
            return text
        return text[: first.start()] + first.group().lower() + text[first.end() :]

    def changed(match: re.Match[str]) -> str:
        word = match.group()
        if word.lower() in keep:
            return word
        fresh = word.lower() if kind == 0 else word.upper()
        return fresh if len(fresh) == len(word) else word

    return "".join(
        part if re.search(r"[@/{}<>_\\=]", part) else _WORD.sub(changed, part) for part in re.split(r"(\s+)", text)
    )


def with_other_order(text: str, random: np.random.Generator) -> str:
    """Put the sentences of one line into another order, unless one of them leans on the one before."""
    sentences = _SENTENCE.split(text)
    if "\n" in text or len(sentences) < 2 or any(_LEANS.match(sentence) for sentence in sentences):
        return text
    if sentences[-1][-1:] not in ".!?":
        return text
    order = random.permutation(len(sentences))
    return " ".join(sentences[place] for place in order)
