"""Graders that need nothing but the texts: comparisons, similarities, schemas, fields, spans, calls, style, code."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metier.core.errors import SettingsError
from metier.score import calls, execute, generation, schema, spans, structured, style
from metier.score.graders.openai import Chat, StringCheck, TextSimilarity
from metier.score.graders.own import Calls, Code, Embedding, Fields, Schema, Spans, Style
from metier.score.graders.places import Shown, fill
from metier.text.embeddings import Embeddings

Entry = Sequence[float] | float | str
"""A number, sums that add up over rows, or in words why there are none."""

_MOST_COMPARED = 100_000
"""Characters of a text whose likeness is measured: time grows with the square."""

Metrics = dict[str, list[Any]]
"""Metric -> an `Entry` a row. A metric is named `graded/STATISTIC/TITLE`, see `metrics.metric_of`."""


def filled(chat: Chat, row: Shown) -> list[dict[str, Any]]:
    """Return a judge's messages with their places filled."""
    return [{"role": turn.role, "content": fill(turn.text(), row)} for turn in chat]


def grade(grader: Any, name: str, rows: Sequence[Shown], *, folder: Path) -> Metrics:
    """Return the metrics of one grader of this file on the answers of one model."""
    pairs = [(row.sample["output_text"], row.item["reference"]) for row in rows]
    makers: dict[type, Callable[[], Metrics]] = {
        StringCheck: lambda: {f"graded/mean/{name}": [_compared(grader, row) for row in rows]},
        TextSimilarity: lambda: _similar(grader, name, rows),
        Embedding: lambda: _near(grader, name, pairs, folder),
        Schema: lambda: _by_schema(grader, name, pairs, folder),
        Fields: lambda: _precise(name, [structured.close_counts(*pair, grader.tolerance) for pair in pairs]),
        Spans: lambda: {
            **_precise(name, [spans.counts(*pair) for pair in pairs]),
            f"graded/f1/{name}, by word": [spans.partial_counts(*pair) for pair in pairs],
        },
        Calls: lambda: _calls(grader, name, pairs),
        Style: lambda: _styled(grader, name, pairs),
        Code: lambda: {f"graded/mean/{name}": [float(passed) for passed in passes(grader, rows, folder)]},
    }
    return makers[type(grader)]()


def _by_schema(grader: Schema, name: str, pairs: Sequence[tuple[str, str]], folder: Path) -> Metrics:
    fault = schema.checker(folder / grader.path)
    return {f"graded/mean/{name}": [float(not fault(output)) for output, _ in pairs]}


def _compared(grader: StringCheck, row: Shown) -> float:
    said, wanted = fill(grader.input, row), fill(grader.reference, row)
    compared = {
        "eq": said == wanted,
        "ne": said != wanted,
        "like": wanted in said,
        "ilike": wanted.casefold() in said.casefold(),
    }
    return float(compared[grader.operation])


def _similar(grader: TextSimilarity, name: str, rows: Sequence[Shown]) -> Metrics:
    said, wanted = ([fill(text, row) for row in rows] for text in (grader.input, grader.reference))
    if grader.evaluation_metric == "bleu" and grader.pass_threshold is None:
        return {f"graded/bleu/{name}": generation.bleu_columns(said, wanted).tolist()}
    if grader.evaluation_metric == "bleu":
        values: list[float | str] = [float(generation.bleu(row)) for row in generation.bleu_columns(said, wanted)]
    else:
        values = [_likeness(grader.evaluation_metric, *pair) for pair in zip(said, wanted, strict=True)]
    least = grader.pass_threshold
    if least is not None:
        values = [value if isinstance(value, str) else float(value >= least) for value in values]
    return {f"graded/mean/{name}": values}


def _likeness(kind: str, said: str, wanted: str) -> float | str:
    if max(len(said), len(wanted)) > _MOST_COMPARED:
        return f"more than {_MOST_COMPARED:,} characters, which would take minutes to compare"
    return generation.similarities(kind, [said], [wanted])[0]


def _near(grader: Embedding, name: str, pairs: Sequence[tuple[str, str]], folder: Path) -> Metrics:
    """Return cosines in [0, 1]; an answer without a known word is near to nothing."""
    if not pairs:
        return {f"graded/mean/{name}": []}
    embeddings = Embeddings(folder / grader.path, "graders: embedding")
    said, wanted = (embeddings.of([pair[side] for pair in pairs]) for side in (0, 1))
    cosines = [float(value) for value in (said * wanted).sum(axis=1).clip(0, 1)]
    least = grader.pass_threshold
    return {f"graded/mean/{name}": cosines if least is None else [float(value >= least) for value in cosines]}


def _precise(name: str, counts: Sequence[Sequence[float]]) -> Metrics:
    """Return F1, precision and recall from hits, false alarms and misses."""
    return {
        f"graded/f1/{name} F1": list(counts),
        f"graded/share/{name} precision": [(hits, hits + alarms) for hits, alarms, _ in counts],
        f"graded/share/{name} recall": [(hits, hits + misses) for hits, _, misses in counts],
    }


def _calls(grader: Calls, name: str, pairs: Sequence[tuple[str, str]]) -> Metrics:
    found = [calls.compare(*pair, ordered=grader.ordered) for pair in pairs]
    metrics: Metrics = {
        f"graded/mean/{name}": [float(match.same) for match in found],
        f"graded/f1/{name}, names": [match.names for match in found],
        f"graded/f1/{name}, arguments": [match.arguments for match in found],
    }
    if grader.ordered:
        metrics[f"graded/mean/{name}, order"] = [float(match.in_order) for match in found]
    return metrics


def _styled(grader: Style, name: str, pairs: Sequence[tuple[str, str]]) -> Metrics:
    for pattern in grader.patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise SettingsError(f"graders: pattern {pattern!r} ({error})", "a regular expression") from error
    wanted = style.Wanted(
        least_words=grader.least_words, most_words=grader.most_words, most_grade=grader.most_grade,
        forbidden=grader.forbidden, patterns=grader.patterns,
    )  # fmt: skip
    return {f"graded/mean/{name}": [float(not style.faults(output, wanted)) for output, _ in pairs]}


def passes(grader: Code, rows: Sequence[Shown], folder: Path) -> list[bool]:
    """Run every answer with its tests.

    Raises:
        SettingsError: running answers was not allowed, or the file of tests is not there.
    """
    require_allowed(grader)
    tests = None
    if grader.tests != "reference":
        path = folder / grader.tests
        if not path.is_file():
            raise SettingsError(f"graders: no file {path}", "a Python file of tests, relative to metier.yaml")
        tests = path.read_text(encoding="utf-8")
    limits = execute.Limits(seconds=grader.seconds, memory_bytes=grader.memory_mb << 20)
    found = []
    for row in rows:
        before = row.item["prompt"] if grader.continues else ""
        after = row.item["reference"] if tests is None else tests
        program = f"{before}{execute.code_in(row.sample['output_text'])}\n{after}\n"
        found.append(execute.run(program, limits).passed)
    return found


def require_allowed(grader: Code) -> None:
    """Refuse to run answers unless that was allowed.

    Raises:
        SettingsError: it was not.
    """
    if not grader.allow:
        raise SettingsError(
            "graders: code would run answers of a model on this machine",
            "`allow: true` in the grader",
            "read what limits it (docs/evaluation.md) before you allow it",
        )
