"""The passages of the user's documents, and which of many texts a question is about: by words and by meaning."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from metier.core.errors import InputError

_WORD = re.compile(r"\w+")
_SATURATION, _LENGTH = 1.2, 0.75
_WORDS_OF_A_PASSAGE = 100
_KINDS = (".txt", ".md")
_RANKED = 50
"""Texts of each ranking that are put together."""
_DAMPING = 60
"""Added to a rank before its reciprocal is taken, as in the paper: the first places do not decide alone."""

Space = Callable[[Sequence[str], Sequence[str]], tuple[Any, Any]]
"""Texts and questions -> their numbers [n, D] and [m, D], each of length 1, dense or sparse."""


class Index:
    """Texts ranked by BM25 (S. Robertson and H. Zaragoza 2009), with the logarithm that is never negative."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(_words(text)) for text in texts]
        self._places = {word: place for place, word in enumerate(sorted({word for found in counts for word in found}))}
        entries = [(row, self._places[word], n) for row, found in enumerate(counts) for word, n in found.items()]
        rows, columns, values = np.array(entries, dtype=np.int64).reshape(-1, 3).T
        lengths = np.array([found.total() for found in counts], dtype=np.float64)
        mean = lengths.mean() if lengths.sum() else 1.0
        texts_with = np.bincount(columns, minlength=len(self._places))
        rarity = np.log1p((len(texts) - texts_with + 0.5) / (texts_with + 0.5))
        below = values + _SATURATION * (1 - _LENGTH + _LENGTH * lengths[rows] / mean)
        weights = rarity[columns] * values * (_SATURATION + 1) / below
        self._weights = sparse.csr_array((weights, (rows, columns)), shape=(len(texts), max(1, len(self._places))))

    def best(self, query: str, count: int) -> list[int]:
        """Return the places of the `count` texts that fit best, best first; texts that share no word are left out."""
        wanted = np.zeros(max(1, len(self._places)))
        for word in _words(query):
            if word in self._places:
                wanted[self._places[word]] += 1
        fits = self._weights @ wanted
        order = np.argsort(-fits, kind="stable")[:count]
        return [int(place) for place in order if fits[place] > 0]


def ranked(texts: Sequence[str], queries: Sequence[str], count: int, space: Space | None) -> list[tuple[int, ...]]:
    """Return the places of the `count` texts that fit each query best, best first.

    With a space of embeddings, both rankings are put together by the reciprocals of their ranks (G. Cormack et al.
    2009), so that neither the words nor the meaning alone decides.

    Args:
        texts: what is searched.
        queries: what is asked.
        count: how many.
        space: turns texts into numbers of length 1; None: words alone.
    """
    index = Index(texts)
    if space is None:
        return [tuple(index.best(query, count)) for query in queries]
    rows, asked = space(texts, queries)
    likeness = np.asarray(rows @ asked.T)
    found = []
    for number, query in enumerate(queries):
        near = np.argsort(-likeness[:, number], kind="stable")[:_RANKED]
        points: dict[int, float] = {}
        for ranking in (index.best(query, _RANKED), [int(place) for place in near]):
            for rank, place in enumerate(ranking):
                points[place] = points.get(place, 0.0) + 1 / (_DAMPING + rank)
        found.append(tuple(sorted(points, key=lambda place: (-points[place], place))[:count]))
    return found


def read(names: Sequence[str], folder: Path) -> list[str]:
    """Return the passages of documents: paragraphs, put together or cut to about a hundred words.

    Raises:
        InputError: a document is missing, no text file, or not UTF-8.
    """
    found = []
    for name in names:
        path = (folder / Path(name).expanduser()).resolve()
        paths = sorted(entry for entry in path.rglob("*") if entry.suffix in _KINDS) if path.is_dir() else [path]
        if not paths or not all(entry.is_file() and entry.suffix in _KINDS for entry in paths):
            raise InputError(f"advise.documents: {name}", "a .txt or .md file, or a folder of them")
        for entry in paths:
            try:
                found += cut(entry.read_text(encoding="utf-8-sig"))
            except UnicodeDecodeError as error:
                raise InputError(f"{entry}: not UTF-8 (byte {error.start})", "a UTF-8 text") from error
    return found


def cut(text: str) -> list[str]:
    """Cut a text into passages of about a hundred words, at empty lines where there are some."""
    passages: list[list[str]] = [[]]
    for paragraph in re.split(r"\n\s*\n", text):
        words = paragraph.split()
        for start in range(0, len(words), _WORDS_OF_A_PASSAGE):
            part = words[start : start + _WORDS_OF_A_PASSAGE]
            if len(passages[-1]) + len(part) > _WORDS_OF_A_PASSAGE:
                passages.append([])
            passages[-1] += part
    return [" ".join(words) for words in passages if words]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
