"""Tells the language of texts, and finds rows in another one than they should be in."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from metier.core.errors import SettingsError
from metier.core.types import Row
from metier.prepare.cleaning.seen import Seen
from metier.prepare.cleaning.settings import CleanSettings
from metier.prepare.cleaning.texts import answers, asked
from metier.prepare.decisions import Decision
from metier.prepare.spool import Spool

RULE = "clean.language"
_SHORTEST = 40
"""Shorter texts are not judged: of 10,000 short English questions 30 were mistaken, of those this long none."""

_LOOKED_AT = 160
_RARE_SHARE = 0.01
_FEWEST_ROWS = 50


class Languages:
    """An observer that tells what each row asks and answers in.

    Args:
        rows: how many there are.
        settings: which languages are wanted, and whether others are dropped.
        seen: its `languages` are filled.
    """

    def __init__(self, rows: int, settings: CleanSettings, seen: Seen) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier  # 0.3 s and 100 MB: only where it is used

        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
        wanted = set(settings.languages or ())
        if unknown := wanted - set(self._identifier.labels):
            raise SettingsError(f"prepare.clean.languages: {', '.join(sorted(unknown))} unknown", "ISO 639 codes")
        # three-letter codes are close relatives of larger languages, for which those would be mistaken
        names = sorted({name for name in self._identifier.labels if len(name) == 2} | wanted)
        self._identifier.set_languages(names)
        self._names = names
        self._numbers = {name: number for number, name in enumerate(names)}
        self._codes = np.full((rows, 2), -1, dtype=np.int16)
        self._wanted = wanted
        self._action = "drop" if settings.language == "drop" else "flag"
        self._seen = seen

    def see(self, number: int, row: Row) -> None:
        """Look at what one row asks, and at its last answer."""
        said = answers(row)
        for side, text in enumerate((asked(row), said[-1] if said else "")):
            if len(text) >= _SHORTEST:
                self._codes[number, side] = self._numbers[self._identifier.classify(text[:_LOOKED_AT])[0]]

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
