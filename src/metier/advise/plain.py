"""Ways without a language model: the commonest answer, the nearest training row, a logistic regression.

Each is fitted on training rows and then sees questions only, so that no held-out answer can reach it.
n = training rows, m = questions, D = numbers of a text.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from metier.advise.passages import Space
from metier.advise.ways import NotMeasured, Tried
from metier.core import extras
from metier.score import structured
from metier.score.kinds import Kind
from metier.text.embeddings import Embeddings

_MOST_VALUES = 200
_MOST_STEPS = 300
_EXTRA = "heads"

NO_REGRESSION = "the answers are not labels, and not objects of fields whose values repeat"


def majority(texts: Sequence[str], answers: Sequence[str], asked: Sequence[str]) -> Tried:
    """Say the commonest answer of the training rows to everything."""
    answer = Counter(answers).most_common(1)[0][0]
    return Tried(name="commonest answer", family="plain", effort=0, outputs=(answer,) * len(asked))


def on_space(
    name: str,
    space: Space,
    *,
    known: tuple[Sequence[str], Sequence[str]],
    asked: Sequence[str],
    kind: Kind,
    where: str = "",
) -> list[Tried | NotMeasured]:
    """Answer by the nearest training row and by logistic regression.

    Args:
        name: what the space is called.
        space: turns texts into numbers.
        known: texts and answers of the training rows.
        asked: the questions.
        kind: what the answers are; a regression needs answers, or fields, that repeat.
        where: the folder of the space's model, as `metier compare classifier:WAY:FOLDER` names it; empty: none.
    """
    if absent := extras.missing(_EXTRA):
        why = f"{', '.join(absent)} is not installed; {extras.install_line(_EXTRA)}"
        return [NotMeasured(name=f"{way}, {name}", why=why) for way in ("nearest row", "logistic regression")]
    texts, answers = known
    start = perf_counter()
    rows, questions = space(texts, asked)
    ready = perf_counter() - start
    found: list[Tried | NotMeasured] = []
    ways = (("nearest row", "nearest", nearest), ("logistic regression", "logistic", regression(kind)))
    for effort, (way, called, answer) in enumerate(ways, start=1):
        start = perf_counter()
        outputs = answer(rows, answers, questions)
        seconds = (ready + perf_counter() - start) / max(1, len(asked))
        label = f"{way}, {name}"
        if outputs is None:
            found.append(NotMeasured(name=label, why=NO_REGRESSION))
        else:
            opponent = f"classifier:{called}:{where}" if where else f"classifier:{called}"
            found.append(
                Tried(
                    name=label, family="plain", effort=effort, outputs=tuple(outputs), seconds=seconds,
                    opponent=opponent,
                )
            )  # fmt: skip
    return found


def lexical(texts: Sequence[str], asked: Sequence[str]) -> tuple[Any, Any]:
    """Return TF-IDF over words and pairs of words, weighted on the training rows alone."""
    module = extras.load("sklearn.feature_extraction.text", _EXTRA)
    maker = module.TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    try:
        rows = maker.fit_transform(texts)
    except ValueError:  # no text holds a word
        return np.zeros((len(texts), 1)), np.zeros((len(asked), 1))
    return rows, maker.transform(asked)


def embedded(folder: Path, setting: str = "advise.embeddings") -> Space:
    """Return the space of a static embedding model; `setting` is what named it, for errors.

    Raises:
        DataError: the folder holds no such model.
    """
    model = Embeddings(folder, setting)
    return lambda texts, asked: (model.of(list(texts)), model.of(list(asked)))


def nearest(rows: Any, answers: Sequence[str], questions: Any) -> list[str]:
    """Return the answer of the training row with the largest cosine; of equal ones, the first."""
    likeness = rows @ questions.T
    dense = likeness if isinstance(likeness, np.ndarray) else likeness.toarray()
    return [answers[place] for place in dense.argmax(axis=0)]


def regression(kind: Kind) -> Callable[[Any, Sequence[str], Any], list[str] | None]:
    """Return what learns from rows and answers and answers questions; None where the answers do not repeat."""
    return {"label": _labels, "json": _objects}.get(kind, lambda rows, answers, questions: None)


def _labels(rows: Any, answers: Sequence[str], questions: Any) -> list[str]:
    """Predict one of the answers of the training rows."""
    if len(set(answers)) == 1:
        return [answers[0]] * questions.shape[0]
    module = extras.load("sklearn.linear_model", _EXTRA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged by then: more steps hardly change what it says
        model = module.LogisticRegression(C=10.0, max_iter=_MOST_STEPS).fit(rows, list(answers))
    return [str(label) for label in model.predict(questions)]


def _objects(rows: Any, answers: Sequence[str], questions: Any) -> list[str] | None:
    """Predict every field of flat objects by itself. None: they are not flat, or a field hardly ever repeats."""
    objects = [structured.parse(answer) for answer in answers]
    names = list(objects[0]) if isinstance(objects[0], dict) else []
    if not names or not all(isinstance(entry, dict) and list(entry) == names for entry in objects):
        return None
    columns = []
    for name in names:
        values = [json.dumps(entry[name]) for entry in objects if isinstance(entry, dict)]
        if len(set(values)) > min(_MOST_VALUES, max(2, len(values) // 2)):
            return None
        columns.append([json.loads(value) for value in _labels(rows, values, questions)])
    return [json.dumps(dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]
