"""The streaming part of cleaning: one row at a time is repaired, flagged or dropped."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from metier.core.types import Dropped, PreferenceRow, TextRow
from metier.prepare.candidate import Candidate, Stage
from metier.prepare.cleaning import characters, degenerate, encoding, html, mail, refusals
from metier.prepare.cleaning.boilerplate import remover
from metier.prepare.cleaning.settings import CleanSettings
from metier.prepare.cleaning.texts import Piece, Side, answers, pieces, rebuilt

_ALL: frozenset[Side] = frozenset({"told", "asked", "answered", "document"})
_ASKED: frozenset[Side] = frozenset({"asked"})
_LIBRARIES = ("ftfy", "py3langid", "scikit-learn")
_MOST_REMEMBERED, _LONGEST_REMEMBERED = 1 << 11, 1 << 12
"""Texts, and characters of each, whose repair is remembered: system prompts stand in every row."""


@dataclass(frozen=True, slots=True)
class _Repair:
    """A rule that mends texts: what it is called, on whose words it works, and how."""

    rule: str
    reason: str
    sides: frozenset[Side]
    mend: Callable[[str], str]
    fixes: bool


@dataclass(frozen=True, slots=True)
class _Judge:
    """A rule that finds fault with what is learnt, in words that are the same for every row with that fault."""

    rule: str
    found: Callable[[str], str]
    drops: bool


def fingerprint() -> str:
    """Return what cleaning depends on beside its settings: the libraries that are there, with their versions."""
    return ",".join(f"{name} {version(name)}" for name in _LIBRARIES if _is_installed(name))


def _is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def stage(settings: CleanSettings) -> Stage:
    """Return the streaming step that the settings ask for."""
    return Cleaning(_repairs(settings), _judges(settings))


def _repairs(settings: CleanSettings) -> tuple[_Repair, ...]:
    known: list[tuple[str, str, str, frozenset[Side], Callable[[], Callable[[str], str]]]] = [
        ("encoding", settings.encoding, encoding.REASON, _ALL, encoding.repair),
        ("unicode", settings.unicode, characters.UNICODE_REASON, _ALL, lambda: characters.composed),
        ("html", settings.html, html.REASON, _ALL, lambda: html.without),
        ("signatures", settings.signatures, mail.REASON, _ASKED, lambda: mail.without),
        (
            "remove", "fix" if settings.remove else "off", "lines of clean.remove", _ALL,
            lambda: remover(settings.remove),
        ),
        ("whitespace", settings.whitespace, characters.WHITESPACE_REASON, _ALL, lambda: characters.tidied),
    ]  # fmt: skip
    return tuple(
        _Repair(f"clean.{name}", reason, sides, make(), mode == "fix")
        for name, mode, reason, sides, make in known
        if mode != "off"
    )


def _judges(settings: CleanSettings) -> tuple[_Judge, ...]:
    known = (("degenerate", settings.degenerate, degenerate.found), ("refusals", settings.refusals, refusals.found))
    return tuple(_Judge(f"clean.{name}", found, mode == "drop") for name, mode, found in known if mode != "off")


class Cleaning:
    """A stage: repairs in their order, then judgements on what is left.

    Args:
        repairs: the rules that mend texts.
        judges: the rules that look at what is learnt.
    """

    def __init__(self, repairs: Sequence[_Repair], judges: Sequence[_Judge]) -> None:
        self._repairs = repairs
        self._judges = judges
        self._passes_plain = all(repair.rule != "clean.remove" for repair in repairs)
        self._mended = lru_cache(_MOST_REMEMBERED)(partial(_versions, repairs))

    def __call__(self, items: Iterable[Candidate | Dropped]) -> Iterator[Candidate | Dropped]:
        """Pass rows on, repaired; turn those that teach nothing into drops."""
        for item in items:
            repaired = item if isinstance(item, Dropped) or item.spared else self._repaired(item)
            yield repaired if isinstance(repaired, Dropped) else self._judged(repaired)

    def _repaired(self, item: Candidate) -> Candidate | Dropped:
        found = pieces(item.row)
        versions = [self._versions(piece) for piece in found]
        if not any(versions):
            return item
        texts = [piece.text for piece in found]
        notes: list[tuple[_Repair, str]] = []
        for number, repair in enumerate(self._repairs):
            mended = [one[number] if one else text for one, text in zip(versions, texts, strict=True)]
            places = [place for place, pair in enumerate(zip(texts, mended, strict=True), 1) if pair[0] != pair[1]]
            if places:
                notes.append((repair, _where(places, len(texts), texts, mended)))
                texts = mended if repair.fixes else texts
        return self._noted(item, found, texts, notes) if notes else item

    def _versions(self, piece: Piece) -> tuple[str, ...]:
        """Return what a text is after each repair, nothing when none changes it; remembered, for texts come again."""
        if self._passes_plain and _is_plain(piece.text):
            return ()
        return self._mended(piece) if len(piece.text) <= _LONGEST_REMEMBERED else _versions(self._repairs, piece)

    def _noted(
        self, item: Candidate, found: Sequence[Piece], texts: Sequence[str], notes: Iterable[tuple[_Repair, str]]
    ) -> Candidate | Dropped:
        if not all(text.strip() for piece, text in zip(found, texts, strict=True) if piece.text.strip()):
            return item.dropped("clean.empty", "nothing is left of a text after repair")  # type: ignore[return-value]
        row = rebuilt(item.row, texts)
        if isinstance(row, PreferenceRow) and row.chosen == row.rejected:
            return item.dropped("clean.empty", "chosen and rejected are the same after repair")  # type: ignore[return-value]
        for repair, detail in notes:
            item = (
                item.changed(row, repair.rule, repair.reason, detail)
                if repair.fixes
                else item.flagged(repair.rule, repair.reason, detail)
            )
        return item

    def _judged(self, item: Candidate) -> Candidate | Dropped:
        row: Any = item.row
        learnt = [row.text] if isinstance(row, TextRow) else answers(row)
        for judge in self._judges:
            for text in learnt:
                reason = judge.found(text)
                if reason and judge.drops:
                    return item.dropped(judge.rule, reason)  # type: ignore[return-value]
                if reason:
                    item = item.flagged(judge.rule, reason)
                    break
        return item


def _versions(repairs: Sequence[_Repair], piece: Piece) -> tuple[str, ...]:
    text, versions, changes = piece.text, [], False
    for repair in repairs:
        mended = repair.mend(text) if piece.side in repair.sides else text
        versions.append(mended)
        changes |= mended != text
        text = mended if repair.fixes else text
    return tuple(versions) if changes else ()


def _is_plain(text: str) -> bool:
    """Tell whether no rule but `clean.remove` can find anything: one line of plain ASCII without HTML."""
    return (
        text.isascii() and text.isprintable() and "<" not in text and "&" not in text
        and bool(text) and text[0] != " " and text[-1] != " "
    )  # fmt: skip


def _where(places: Sequence[int], count: int, before: Sequence[str], after: Sequence[str]) -> str:
    """Say where, never what: a later step may have to hide what stood there."""
    change = sum(map(len, after)) - sum(map(len, before))
    size = f"{abs(change)} characters {'fewer' if change < 0 else 'more'}" if change else "as many characters"
    named = ", ".join(map(str, places[:5])) + (" …" if len(places) > 5 else "")
    return f"text {named} of {count}: {size}" if count > 1 else size
