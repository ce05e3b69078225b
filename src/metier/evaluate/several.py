"""Compare several models with one, in pairs on the same rows; what so many looks would show by chance is taken back."""

import math
from collections.abc import Sequence
from pathlib import Path

from metier.core.report import Figure, Report, Series, Table, Verdict
from metier.evaluate.compare import Concluded, conclude
from metier.evaluate.stored import Evaluation
from metier.evaluate.wording import change, change_with_interval, level_with_interval
from metier.score import significance
from metier.score.metrics import metric_of

_DECIDED = ("better", "worse")
_SMALLEST_P = 0.001


def several(first: Path | Evaluation | None, *others: Path | Evaluation | None) -> Report:
    """Say which of several models are better than the first, on the same held-out rows.

    Args:
        first: a run's folder, an opponent that was asked, or None for the base.
        others: the same, each held against `first`.

    Raises:
        DataError: a run was not evaluated, or two were evaluated on rows that differ.
    """
    found = [conclude(first, other) for other in others]
    adjusted = adjust([_p(one) for one in found])
    words = [_word(one, p) for one, p in zip(found, adjusted, strict=True)]
    names = [one.names[1] for one in found]
    return Report(
        title=f"{', '.join(names)} against {found[0].names[0]}",
        verdict=_verdict(found, words, adjusted),
        tables=(_table(found, words, adjusted),),
        figures=tuple(_figures(found)),
        command=f"metier compare {found[0].names[0]} {' '.join(names)}",
    )


def adjust(values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values (Holm 1979), None where there is no test.

    Over all of them together, the chance of calling any model better or worse that is neither keeps its level.
    """
    known = iter(significance.holm([value for value in values if value is not None]))
    return [None if value is None else next(known) for value in values]


def _p(one: Concluded) -> float | None:
    """Return a comparison's p-value; what says the same is no look at chance."""
    return None if one.verdict["verdict"] == "identical" else one.verdict["p"]


def _word(one: Concluded, p: float | None) -> str:
    """Return a verdict, taken back where it does not hold among all of them."""
    word = one.verdict["verdict"]
    return "cannot tell" if word in _DECIDED and p is not None and p > 1 - one.confidence else word


def _verdict(found: Sequence[Concluded], words: Sequence[str], adjusted: Sequence[float | None]) -> Verdict:
    first = found[0].names[0]
    better = [place for place, word in enumerate(words) if word == "better"]
    if not better:
        known = {"worse", "equivalent", "identical"}.issuperset(words)
        return Verdict(text=f"none of {len(found)} is shown to be better than {first}", good=False if known else None)
    told = []
    for place in sorted(better, key=lambda number: -_size(found[number])):
        verdict, p = found[place].verdict, adjusted[place]
        text = f"{found[place].names[1]} ({change(verdict['name'], verdict['difference']['value'])}"
        told.append(f"{text}, {_chance(p)})" if p is not None else f"{text})")
    return Verdict(text=f"better than {first}: {', '.join(told)}", good=True)


def _chance(p: float) -> str:
    return "p < 0.001" if p < _SMALLEST_P else f"p = {p:.3f}"


def _size(one: Concluded) -> float:
    """Return by how much a model is better, in the direction that is good."""
    value = one.verdict["difference"]["value"]
    value = 0.0 if value is None or math.isnan(value) else value
    return value if metric_of(one.verdict["name"]).higher_is_better else -value


def _table(found: Sequence[Concluded], words: Sequence[str], adjusted: Sequence[float | None]) -> Table:
    first = found[0].names[0]
    rows = tuple(
        (
            one.names[1], word, change_with_interval(one.verdict["name"], one.verdict["difference"]),
            level_with_interval(one.verdict["name"], one.verdict["tuned"]),
            level_with_interval(one.verdict["name"], one.verdict["base"]),
            None if p is None else round(p, 4), one.verdict["rows"], one.verdict["more_rows"],
        )
        for one, word, p in zip(found, words, adjusted, strict=True)
    )  # fmt: skip
    metrics = ", ".join(sorted({metric_of(one.verdict["name"]).title for one in found}))
    notes = [
        f"By {metrics}, in pairs, each against {first} on the same rows. Intervals are those of one comparison; p is "
        f"adjusted for {len(found)} (Holm), and above {1 - found[0].confidence:.2g} none is called better or worse. "
        "Whether one of these is better than another: put it first."
    ]
    notes += [
        f"{one.names[1]} was asked otherwise ({', '.join(one.differing)}): no verdict."
        for one in found
        if one.differing
    ]
    return Table(
        title=f"Each against {first}",
        columns=("model", "verdict", "difference", "it has", f"{first} has", "p", "rows", "more rows"),
        rows=rows,
        note=" ".join(notes),
    )


def _figures(found: Sequence[Concluded]) -> list[Figure]:
    """Draw the differences, where all are of one metric and have intervals."""
    ends = [[one.verdict["difference"][end] for one in found] for end in ("value", "low", "high")]
    if len({one.verdict["name"] for one in found}) > 1 or any(value is None for end in ends for value in end):
        return []
    name = found[0].verdict["name"]
    scale = 100.0 if metric_of(name).unit == "share" else 1.0
    value, low, high = ([scale * number for number in end] for end in ends)
    models = [one.names[1] for one in found]
    return [
        Figure(
            title=f"{metric_of(name).title}: difference from {found[0].names[0]}",
            kind="bars",
            series=(Series(name="difference", x=models, y=value, low=low, high=high),),
            y_label="points" if scale > 1 else metric_of(name).unit,
        )
    ]
