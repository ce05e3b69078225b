"""Tells the language of texts, and finds rows in another one than they should be in."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from metier.core import extras
from metier.core.errors import SettingsError
from metier.core.types import Row
from metier.prepare.cleaning.seen import Seen
from metier.prepare.cleaning.texts import answers, asked
from metier.prepare.decisions import Action, Decision
from metier.prepare.spool import Spool

RULE = "clean.language"
_SHORTEST = 40
"""Shorter texts are not judged: of 10,000 short English questions 30 were mistaken, of those this long none."""

_NOT_WORDS = re.compile(r"[^\w\s]|[\d_]")
_LOOKED_AT = 100
_LEAST_CONFIDENCE = 0.5
_PROSE = 0.8
_RARE_SHARE = 0.01
_FEWEST_ROWS = 50


class Languages:
    """An observer that tells what each row asks and answers in.

    Args:
        rows: how many there are.
        wanted: ISO 639 codes that rows may be in. None: those of most rows.
        seen: its `languages` are filled.
        drops: whether rows in other languages are dropped.
    """

    def __init__(self, rows: int, wanted: Sequence[str] | None, seen: Seen, *, drops: bool) -> None:
        self._identifier: Any = ()
        self._names: list[str] = []
        self._codes = np.full((rows, 2), -1, dtype=np.int16)
        self._wanted = frozenset(wanted or ())
        self._action: Action = "drop" if drops else "flag"
        self._seen = seen

    def see(self, number: int, row: Row) -> None:
        """Look at what one row asks, and at its last answer."""
        said = answers(row)
        for side, text in enumerate((asked(row), said[-1] if said else "")):
            if len(text) >= _SHORTEST and _is_prose(text[:_LOOKED_AT]):
                self._codes[number, side] = self._code(text[:_LOOKED_AT])

    def _code(self, text: str) -> int:
        if not self._names:
            self._identifier = _opened(self._wanted)
            self._names = sorted(self._identifier.labels)
        name, confidence = self._identifier.classify(text)
        return self._names.index(name) if confidence >= _LEAST_CONFIDENCE else -1

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield the rows in other languages, then those answered in another language than asked."""
        first = np.where(self._codes[:, 0] >= 0, self._codes[:, 0], self._codes[:, 1])
        counts = Counter(first[first >= 0].tolist())
        self._seen.languages.update({self._names[code]: count for code, count in counts.most_common()})
        others = self._others(counts)
        strange = np.isin(self._codes, list(others)).any(axis=1)
        for number in np.flatnonzero(strange):
            code = next(code for code in self._codes[number] if code in others)
            yield spool.decision(number, RULE, self._action, "in another language", self._names[code])
        both = (self._codes >= 0).all(axis=1) & ~strange
        mixed = np.flatnonzero(both & (self._codes[:, 0] != self._codes[:, 1]))
        if both.sum() >= _FEWEST_ROWS and len(mixed) < _RARE_SHARE * 5 * both.sum():
            for number in mixed:
                asked_in, answered_in = (self._names[code] for code in self._codes[number])
                yield spool.decision(
                    number, RULE, "flag", "answered in another language than asked", f"{asked_in}, then {answered_in}"
                )

    def _others(self, counts: Counter[int]) -> set[int]:
        """Return the languages that rows should not be in."""
        if self._wanted:
            return {code for code, name in enumerate(self._names) if name not in self._wanted}
        if counts.total() < _FEWEST_ROWS:
            return set()
        usual = {code for code, count in counts.items() if count >= _RARE_SHARE * counts.total()}
        return set(range(len(self._names))) - usual


@cache
def _opened(wanted: frozenset[str]) -> Any:
    """Load the model (0.7 s, 100 MB) and leave out what it would mistake."""
    model = extras.load("py3langid.langid", "clean")
    identifier = model.LanguageIdentifier.from_model_file(model.MODEL_FILE, norm_probs=True)
    known = identifier.labels
    if unknown := wanted - set(known):
        raise SettingsError(f"prepare.clean.languages: {', '.join(sorted(unknown))} unknown", "ISO 639 codes")
    # three-letter codes are close relatives of larger languages, for which those would be mistaken
    identifier.set_languages(sorted({name for name in known if len(name) == 2} | wanted))
    return identifier


def _is_prose(text: str) -> bool:
    """Tell whether a text is words rather than code, JSON or numbers."""
    return len(_NOT_WORDS.sub("", text)) >= _PROSE * len(text)
