"""Graders of our own: fields, spans, calls, style, meaning, code, your function, a judge of pairs; no torch."""

from typing import Any, Literal

from pydantic import Field

from metier.core.settings import Settings


class Embedding(Settings):
    """How near an answer's meaning is to the reference: the cosine of their static embeddings, negative ones as 0."""

    type: Literal["embedding"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    path: str
    """The folder of a static embedding model (model2vec: model.safetensors and tokenizer.json), relative to
    metier.yaml."""

    pass_threshold: float | None = Field(None, ge=0, le=1)
    """Count answers that reach this cosine. null: report the cosine itself."""


class Pairwise(Settings):
    """A judge that is shown both answers and says which is better: in both orders, so that position cannot decide."""

    type: Literal["pairwise"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    model: str | None = None
    """The judge's model. null: that of `judge`."""

    criteria: str = "Which answer serves the person who asked better: right, complete, clear and no longer than needed?"
    """The question that the judge decides."""

    ratings: str | None = None
    """A JSON Lines file of human ratings, `{"source": "rows.jsonl:7", "winner": "base" | "tuned" | "tie"}`, that the
    judge is compared with. null: none."""

    sampling_params: dict[str, Any] = Field(default_factory=dict)
    """What is sent along with the request."""


class Checker(Settings):
    """A function of your own in a Python file: `score(output, reference, prompt)` returns a number or true or false."""

    type: Literal["checker"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: the function's name."""

    path: str
    """The Python file, relative to metier.yaml; it runs in a process of its own, without limits on what it may do."""

    function: str = "score"
    """The function's name."""


class Schema(Settings):
    """Answers that are JSON and hold to a JSON Schema."""

    type: Literal["schema"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    path: str
    """The file with the JSON Schema, relative to metier.yaml."""


class Fields(Settings):
    """Precision, recall and F1 over the fields of JSON answers, numbers right within a tolerance."""

    type: Literal["fields"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    tolerance: float = Field(0.0, ge=0)
    """A number is right within this share of the right one: 0.01 is one per cent."""


class Spans(Settings):
    """Extraction: F1 over the spans that answers name, whole and word by word; answers are JSON."""

    type: Literal["spans"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""


class Calls(Settings):
    """Function calls: the same calls, the right names, the right arguments, the right order."""

    type: Literal["calls"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    ordered: bool = True
    """Whether the same calls in another order are wrong."""


class Style(Settings):
    """Answers that hold to rules of style."""

    type: Literal["style"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    least_words: int | None = Field(None, ge=0)
    """Fewest words. null: any."""

    most_words: int | None = Field(None, ge=1)
    """Most words. null: any."""

    most_grade: float | None = Field(None, gt=0)
    """Highest Flesch–Kincaid grade, about the years of school it takes to read an English answer. null: any."""

    forbidden: tuple[str, ...] = ()
    """Words or phrases that must not stand in an answer, case aside."""

    patterns: tuple[str, ...] = ()
    """Regular expressions, each of which must be found in an answer."""


class Code(Settings):
    """Answers that are Python programs which pass tests; run with limits, and only when allowed."""

    type: Literal["code"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    allow: bool = False
    """Answers of a model are run on this machine only when this is true. The limits hold accidents, not attackers."""

    tests: str = "reference"
    """What is run after the answer: `reference` (each row's right answer is its tests), or a Python file."""

    continues: bool = False
    """The answer continues the prompt, which is run before it."""

    seconds: float = Field(5.0, gt=0)
    """Longest time of one program, in seconds."""

    memory_mb: int = Field(512, ge=64)
    """Most memory of one program, in MiB."""

    k: int = Field(1, ge=1)
    """pass@k: how often one of k drawn answers passes, estimated without bias from `tries` of them. 1: the greedy
    answer that the evaluation has anyway."""

    tries: int | None = Field(None, ge=1)
    """Answers drawn to each row for pass@k, at least k. null: twice k."""

    temperature: float = Field(0.8, gt=0)
    """At which they are drawn. Their seeds are their numbers."""
