"""Which new rows are good enough: measured against the real ones, for a teacher refuses, loops, copies and drifts."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from metier.core.types import ChatRow, JudgedRow, LabelledRow, PreferenceRow, Row, TextRow
from metier.prepare.synthesise.task import Task, task_of
from metier.score import structured

_REFUSAL = re.compile(
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"|\bI(?:'m| am) (?:sorry|unable|not able),? (?:but|to)\b"
    r"|\bI (?:cannot|can't|can not|won't) (?:help|assist|comply|provide|fulfil|answer|do that|create|generate)\b"
    r"|\bI(?:'m| am) (?:just |only )?an? (?:AI|assistant|language model)\b"
    r"|\bmy (?:training data|knowledge cutoff|guidelines)\b",
    re.I,
)
_WORD = re.compile(r"\w+")
_LONGEST_SHARE, _SHORTEST_SHARE = 3.0, 0.25
_MOST_FORM_MISSES = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What real rows are like: bounds of characters, labels, and the keys and types of answers that are JSON."""

    inputs: tuple[float, float]
    answers: tuple[float, float]
    labels: frozenset[str]
    form: dict[str, type] | None
    refusals: bool


def measure(tasks: Sequence[Task]) -> Measure:
    """Look at the real rows; at least one."""
    answers = [task.answer for task in tasks if task.answer]
    return Measure(
        inputs=_bounds([len(task.input) for task in tasks]),
        answers=_bounds([len(answer) for answer in answers]),
        labels=frozenset(task.answer for task in tasks if isinstance(task.row, LabelledRow)),
        form=_form(answers),
        refusals=sum(_REFUSAL.search(answer) is not None for answer in answers) > 0.05 * len(answers),
    )


def _bounds(sizes: Sequence[int]) -> tuple[float, float]:
    ordered = sorted(sizes) or [0]
    low, high = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
    return _SHORTEST_SHARE * low, _LONGEST_SHARE * high + 50


def _form(answers: Sequence[str]) -> dict[str, type] | None:
    """Return the keys that nearly all answers have when nearly all are JSON objects, with the types of their values."""
    values = [structured.parse(answer) for answer in answers]
    objects = [value for value in values if isinstance(value, dict)]
    if not objects or len(objects) < (1 - _MOST_FORM_MISSES) * len(answers):
        return None
    counts = Counter((key, type(value)) for found in objects for key, value in found.items())
    return {key: kind for (key, kind), count in counts.items() if count >= (1 - _MOST_FORM_MISSES) * len(objects)}


def fault(row: Row, like: Measure, *, asked_of_document: bool = False) -> str:
    """Say what is wrong with a new row, the same words for every row with this fault; "" when nothing is.

    Args:
        row: a new row.
        like: what real rows are like.
        asked_of_document: the row is a question about a document; lengths and form of the real rows are no measure.
    """
    asked, answers = _parts(row)
    if isinstance(row, LabelledRow) and row.answer == "label" and like.labels and row.label not in like.labels:
        return "a label that no real row has"
    texts = [asked, *answers]
    if any(not text.strip() for text in texts):
        return "empty"
    if not like.refusals and any(_REFUSAL.search(text) for text in texts):
        return "a refusal, or the teacher speaks of itself"
    if any(_loops(text) for text in texts):
        return "it repeats itself"
    if asked_of_document:
        return ""
    return _out_of_form(asked, answers, like, labelled=isinstance(row, LabelledRow))


def _out_of_form(asked: str, answers: Sequence[str], like: Measure, *, labelled: bool) -> str:
    if not like.inputs[0] <= len(asked) <= like.inputs[1]:
        return "much longer or shorter than real questions"
    if labelled:
        return ""
    if any(not like.answers[0] <= len(answer) <= like.answers[1] for answer in answers):
        return "its answer is much longer or shorter than real ones"
    return "its answer is not of the form of real ones" if any(not _has_form(one, like.form) for one in answers) else ""


def _has_form(answer: str, form: dict[str, type] | None) -> bool:
    if form is None:
        return True
    value = structured.parse(answer)
    return isinstance(value, dict) and all(key in value and _same(value[key], kind) for key, kind in form.items())


def _same(value: Any, kind: type) -> bool:
    return isinstance(value, kind) or (kind in (int, float) and isinstance(value, int | float))


def _parts(row: Row) -> tuple[str, list[str]]:
    if isinstance(row, PreferenceRow):
        return row.prompt[-1].content, [row.chosen[-1].content, row.rejected[-1].content]
    if isinstance(row, TextRow):
        return row.text, []
    task = task_of(row)
    assert task is not None
    return task.input, [task.answer]


def _loops(text: str) -> bool:
    """Tell whether a text goes round in circles: most of its word triples stand in it more than twice."""
    words = _WORD.findall(text.lower())
    if len(words) < 24:
        return False
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    return sum(count for count in triples.values() if count > 2) > 0.4 * triples.total()


@dataclass(slots=True)
class Seen:
    """The real rows, and the new ones that have been taken, to find what is too much like one of them."""

    closest: float
    _texts: dict[str, str] = field(default_factory=dict)
    _sizes: list[int] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)
    _holders: dict[tuple[str, ...], list[int]] = field(default_factory=dict)

    def fill(self, rows: Iterable[Row]) -> None:
        """Enter real rows of every split."""
        for row in rows:
            self.add(row)

    def like(self, row: Row) -> str | None:
        """Return the source of a row that this one is equal to or closer to than `closest`, None when there is none."""
        text = _flat(row)
        if text in self._texts:
            return self._texts[text]
        shingles = _shingles(text)
        shared = Counter(number for shingle in shingles for number in self._holders.get(shingle, ()))
        for number, count in shared.most_common(3):
            if count / (len(shingles) + self._sizes[number] - count) > self.closest:
                return self._names[number]
        return None

    def add(self, row: Row) -> None:
        """Enter one row."""
        text = _flat(row)
        if text in self._texts:
            return
        self._texts[text] = row.source
        shingles = _shingles(text)
        for shingle in shingles:
            self._holders.setdefault(shingle, []).append(len(self._sizes))
        self._sizes.append(len(shingles))
        self._names.append(row.source)


def _flat(row: Row) -> str:
    """Return what a row asks, in small letters without marks; for a preference, its answers too."""
    task = task_of(row)
    text = task.input if task is not None else "\n".join(_spoken(row))
    return " ".join(_WORD.findall(text.lower()))


def _spoken(row: Row) -> Iterator[str]:
    if isinstance(row, ChatRow):
        turns = row.messages
    elif isinstance(row, PreferenceRow):
        turns = (*row.prompt, *row.chosen, *row.rejected)
    else:
        turns = (*row.prompt, *row.completion) if isinstance(row, JudgedRow) else ()
    yield from (turn.content for turn in turns)


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    if len(words) < 3:
        return set(pairwise([*words, ""]))
    return set(zip(words, words[1:], words[2:], strict=False))
