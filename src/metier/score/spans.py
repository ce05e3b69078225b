"""Extraction: which spans of a text an answer names, by kind; whole and in part. Answers are JSON."""

import re
from collections import Counter

from metier.score import structured

_WORD = re.compile(r"\w+")


def counts(output: str, reference: str) -> tuple[float, float, float]:
    """Return hits, false alarms and misses over (kind, span) pairs; a span is its text with case and spaces aside.

    Kinds are the fields of the right answer, `{"person": ["Ada"], "place": []}`, or one kind for a plain list.
    """
    said, wanted = _bags(output), _bags(reference)
    hits = (said & wanted).total()
    return hits, said.total() - hits, wanted.total() - hits


def partial_counts(output: str, reference: str) -> tuple[float, float, float]:
    """Return the same over the words of the spans, so that a span that is nearly right counts for what it has."""
    said, wanted = (_words(bag) for bag in (_bags(output), _bags(reference)))
    hits = (said & wanted).total()
    return hits, said.total() - hits, wanted.total() - hits


def _bags(text: str) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for path, values in (structured.leaves(structured.parse(text)) or {}).items():
        for value, count in values.items():
            plain = " ".join(str(structured.value_of(value)).casefold().split())
            if value not in ("[]", "{}", "null") and plain:
                found[path.removesuffix("[]"), plain] += count
    return found


def _words(bag: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    return Counter((kind, word) for (kind, span), count in bag.items() for word in _WORD.findall(span) * count)
