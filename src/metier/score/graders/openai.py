"""OpenAI's six graders, as they are written there; imports no torch."""

from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from metier.core.settings import Settings
from metier.score.graders import formula

_OUTPUT = "{{ sample.output_text }}"
_REFERENCE = "{{ item.reference }}"


class Words(Settings):
    """A part of a judge's message."""

    type: Literal["input_text", "output_text", "text"]
    """What the part is: text, by whichever name. Pictures and sounds are not judged."""

    text: str
    """The text, with `{{ … }}` places."""


class Turn(Settings):
    """A message of what a judge is told."""

    role: Literal["user", "assistant", "system", "developer"] = "user"
    """Who says it."""

    content: str | Words | tuple[str | Words, ...]
    """The text, with `{{ … }}` places: whole, or in parts, each a line of its own."""

    type: Literal["message"] = "message"
    """Read and not used: OpenAI's name of such a message."""

    def text(self) -> str:
        """Return all of the message's text."""
        parts = self.content if isinstance(self.content, tuple) else (self.content,)
        return "\n".join(part if isinstance(part, str) else part.text for part in parts)


Chat = tuple[Turn, ...]
"""Messages for a judge: `[{role: user, content: "… {{sample.output_text}} …"}]`."""


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
    """A judge that gives a number, at the endpoint of `judge`."""

    type: Literal["score_model"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    model: str | None = None
    """The judge's model. null: that of `judge`."""

    input: Chat
    """What the judge is told: messages with `{{ … }}` places."""

    range: tuple[float, float] = (0.0, 1.0)
    """The least and the largest number it may give; scaled to 0 and 1."""

    sampling_params: dict[str, Any] = Field(default_factory=dict)
    """What is sent along with the request, e.g. `{temperature: 0}`."""

    pass_threshold: float | None = None
    """Count answers that reach this number. null: report the number itself."""

    @field_validator("range")
    @classmethod
    def _rises(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not (value[0] < value[1] and isfinite(value[1] - value[0])):
            raise ValueError("wanted a least number below the largest")
        return value


class LabelModel(Settings):
    """A judge that chooses a label, at the endpoint of `judge`."""

    type: Literal["label_model"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    model: str | None = None
    """The judge's model. null: that of `judge`."""

    input: Chat
    """What the judge is told: messages with `{{ … }}` places."""

    labels: tuple[str, ...] = Field(min_length=2)
    """The labels that it may choose."""

    passing_labels: tuple[str, ...] = Field(min_length=1)
    """Those that mean the answer is right."""

    sampling_params: dict[str, Any] = Field(default_factory=dict)
    """What is sent along with the request."""

    @model_validator(mode="after")
    def _knows_its_labels(self) -> "LabelModel":
        if unknown := [label for label in self.passing_labels if label not in self.labels]:
            raise ValueError(f"passing_labels: {unknown[0]!r} is none of the labels")
        return self


Part = Annotated[StringCheck | TextSimilarity | PythonGrader | ScoreModel | LabelModel, Field(discriminator="type")]
"""What a `multi` grader may be put together from."""


class Multi(Settings):
    """Several graders put together by a formula."""

    type: Literal["multi"]
    """Which grader this is."""

    name: str | None = None
    """What it is called in tables. null: its type."""

    graders: dict[str, Part] = Field(min_length=1)
    """The graders by the names that the formula uses; or a list of graders with a `name` each, or one."""

    calculate_output: str
    """The formula: `0.7 * right + 0.3 * short`; + - * / **, parentheses, min, max, abs, sqrt, log, exp, floor, ceil."""

    @field_validator("graders", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        """Read what OpenAI's guide writes (by name), its reference (a list), and its clients' types (one grader)."""
        listed = [value] if isinstance(value, dict) and isinstance(value.get("type"), str) else value
        if not isinstance(listed, (list, tuple)):
            return value
        names = [each.get("name") if isinstance(each, dict) else None for each in listed]
        named = {name: each for name, each in zip(names, listed, strict=True) if isinstance(name, str)}
        if len(named) < len(listed):
            raise ValueError("wanted a `name` of its own for each grader")
        return named

    @model_validator(mode="after")
    def _can_be_calculated(self) -> "Multi":
        formula.compiled(self.calculate_output, self.graders)
        return self
