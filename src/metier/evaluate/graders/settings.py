"""The graders that `evaluate.graders` can hold: OpenAI's six as they are written there, and our own; no torch."""

from typing import Annotated, Any, Literal

from pydantic import Field

from metier.core.settings import Settings

Chat = tuple[dict[str, Any], ...]
"""Messages for a judge: `[{role: user, content: "… {{sample.output_text}} …"}]`."""

_OUTPUT = "{{ sample.output_text }}"
_REFERENCE = "{{ item.reference }}"


class StringCheck(Settings):
    """Right or wrong by comparing two texts."""

    type: Literal["string_check"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    operation: Literal["eq", "ne", "like", "ilike"] = "eq"
    """Equal, not equal, the reference is in the input, or that with upper and lower case alike."""

    input: str = _OUTPUT
    """The text that is looked at; `{{ sample.output_text }}` is the answer, `{{ item.prompt }}` the question."""

    reference: str = _REFERENCE
    """The text that it is compared with; `{{ item.reference }}` is the right answer."""


class TextSimilarity(Settings):
    """How like the reference an answer is, in [0, 1]."""

    type: Literal["text_similarity"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: the name of the similarity."""

    evaluation_metric: Literal[
        "fuzzy_match", "bleu", "gleu", "chrf", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"
    ]
    """BLEU and chrF by sacrebleu, ROUGE by rouge-score, GLEU, or `fuzzy_match`, which compares characters."""

    input: str = _OUTPUT
    """The text that is looked at."""

    reference: str = _REFERENCE
    """The text that it is compared with."""

    pass_threshold: float | None = Field(None, ge=0, le=1)
    """Count answers that reach this similarity. null: report the similarity itself."""


class PythonGrader(Settings):
    """A function `grade(sample, item)` that returns a number in [0, 1], written out; it runs with limits."""

    type: Literal["python"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    source: str
    """The Python program that defines `grade`."""

    image_tag: str | None = None
    """Read and not used: OpenAI's image for it; the program runs with this Python and its standard library. null:
    none named."""

    pass_threshold: float | None = Field(None, ge=0, le=1)
    """Count answers that reach this number. null: report the number itself."""


class ScoreModel(Settings):
    """A judge that gives a number, at the endpoint of `evaluate.judge`."""

    type: Literal["score_model"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    model: str | None = None
    """The judge's model. null: that of `evaluate.judge`."""

    input: Chat
    """What the judge is told: messages with `{{ … }}` places."""

    range: tuple[float, float] = (0.0, 1.0)
    """The least and the largest number it may give; scaled to 0 and 1."""

    sampling_params: dict[str, Any] = Field(default_factory=dict)
    """What is sent along with the request, e.g. `{temperature: 0}`."""

    pass_threshold: float | None = None
    """Count answers that reach this number. null: report the number itself."""


class LabelModel(Settings):
    """A judge that chooses a label, at the endpoint of `evaluate.judge`."""

    type: Literal["label_model"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    model: str | None = None
    """The judge's model. null: that of `evaluate.judge`."""

    input: Chat
    """What the judge is told: messages with `{{ … }}` places."""

    labels: tuple[str, ...] = Field(min_length=2)
    """The labels that it may choose."""

    passing_labels: tuple[str, ...] = Field(min_length=1)
    """Those that mean the answer is right."""

    sampling_params: dict[str, Any] = Field(default_factory=dict)
    """What is sent along with the request."""


class Pairwise(Settings):
    """A judge that is shown both answers and says which is better: in both orders, so that position cannot decide."""

    type: Literal["pairwise"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    model: str | None = None
    """The judge's model. null: that of `evaluate.judge`."""

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
    """Answers that are Python programs which pass tests (pass@1); run with limits, and only when allowed."""

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


Single = (
    StringCheck | TextSimilarity | PythonGrader | ScoreModel | LabelModel | Pairwise
    | Checker | Schema | Fields | Spans | Calls | Style | Code
)  # fmt: skip
Part = Annotated[StringCheck | TextSimilarity | PythonGrader | ScoreModel | LabelModel, Field(discriminator="type")]


class Multi(Settings):
    """Several graders put together by a formula."""

    type: Literal["multi"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    graders: dict[str, Part]
    """The graders by the names that the formula uses."""

    calculate_output: str
    """The formula: `0.7 * right + 0.3 * short`; + - * / **, parentheses, min, max, abs, sqrt, log, exp, floor, ceil."""


Grader = Annotated[Single | Multi, Field(discriminator="type")]


def named(grader: Single | Multi) -> str:
    """Return what a grader is called in tables."""
    if grader.name is not None:
        return grader.name
    if isinstance(grader, TextSimilarity):
        plain = {"bleu": "BLEU", "chrf": "chrF", "gleu": "GLEU", "fuzzy_match": "likeness"}
        return plain.get(grader.evaluation_metric, grader.evaluation_metric.upper().replace("_", "-"))
    return grader.function if isinstance(grader, Checker) else grader.type


class JudgeSettings(Settings):
    """An OpenAI-compatible endpoint whose model judges answers."""

    url: str | None = None
    """The address up to `/v1`, e.g. `http://127.0.0.1:8000/v1`. null: there is no judge."""

    model: str | None = None
    """The judge's model. null: each grader names its own."""

    key_variable: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; an empty one sends no key."""

    seconds: float = Field(60.0, gt=0)
    """Longest wait for one judgement, in seconds."""

    tries: int = Field(3, ge=1)
    """How often a judgement is asked for when it fails or cannot be read."""

    at_once: int = Field(4, ge=1)
    """How many judgements are asked for at the same time."""
