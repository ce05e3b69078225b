"""Tells the language of texts, and finds rows in another one than they should be in."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from metier.prepare.cleaning.glance import Looked
from metier.prepare.cleaning.seen import Seen
from metier.prepare.decisions import Action, Decision
from metier.prepare.spool import Spool

RULE = "clean.language"
_RARE_SHARE = 0.01
_FEWEST_ROWS = 50


class Languages:
    """Judges rows by what they ask and answer in.

    Args:
        looked: what was told of all rows.
        wanted: ISO 639 codes that rows may be in. None: those of most rows.
        seen: its `languages` are filled.
        drops: whether rows in other languages are dropped.
    """

    def __init__(self, looked: Looked, wanted: Sequence[str] | None, seen: Seen, *, drops: bool) -> None:
        self._names = looked.language_names
        self._codes = looked.languages
        self._wanted = frozenset(wanted or ())
        self._action: Action = "drop" if drops else "flag"
        self._seen = seen

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield the rows in other languages, then those answered in another language than asked."""
        first = np.where(self._codes[:, 0] >= 0, self._codes[:, 0], self._codes[:, 1])
        found = enumerate(np.bincount(first[first >= 0]).tolist())
        counts = Counter({code: count for code, count in found if count})
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
