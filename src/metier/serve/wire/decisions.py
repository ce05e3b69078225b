"""Questions with typed answers, and what people thought of answers, as they come over the wire; no torch."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Discriminator, Field, StrictBool, Tag

from metier.serve.wire.body import Body

_TEXT = 1 << 20


class InputPart(Body):
    """A part of a decision's input that is text."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class InputMessage(Body):
    """A turn of a decision's input."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[InputPart]
    type: Literal["message"] = "message"


class Choice(Body):
    """An answer that a choice question offers; a `description` is read below the instructions."""

    value: str | StrictBool
    description: str | None = None


class Level(Body):
    """A level of a score question, lowest first; a `description` is read below the instructions."""

    label: str = Field(min_length=1)
    description: str | None = None


class Predicate(Body):
    """A question whether something is true of the input."""

    type: Literal["predicate"]
    instructions: str
    name: str | None = None

    @property
    def guidance(self) -> str:
        """What a model reads of the question."""
        return self.instructions


class ChoiceQuestion(Body):
    """A question which of several it is."""

    type: Literal["choice"]
    instructions: str
    choices: list[Choice] = Field(min_length=2, max_length=256)
    name: str | None = None

    @property
    def guidance(self) -> str:
        """What a model reads of the question."""
        return _described(self.instructions, [(said(each.value), each.description) for each in self.choices])


class ScoreQuestion(Body):
    """A question how much of something there is."""

    type: Literal["score"]
    instructions: str
    levels: list[Level] = Field(min_length=2, max_length=256)
    name: str | None = None

    @property
    def guidance(self) -> str:
        """What a model reads of the question."""
        return _described(self.instructions, [(each.label, each.description) for each in self.levels])


def _kind(question: object) -> str | None:
    """Return the `type` of a question, as it was sent or as it was read."""
    if isinstance(question, Predicate | ChoiceQuestion | ScoreQuestion):
        return question.type
    kind = question.get("type") if isinstance(question, Mapping) else None
    return kind if isinstance(kind, str) else None


Question = Annotated[
    Annotated[Predicate, Tag("predicate")]
    | Annotated[ChoiceQuestion, Tag("choice")]
    | Annotated[ScoreQuestion, Tag("score")],
    Discriminator(_kind, custom_error_type="kind", custom_error_message="wanted a 'type': predicate, choice or score"),
]
"""A question is read as what its `type` says, so that what is wrong with it is told of that."""


def said(value: str | bool) -> str:
    """Return an answer as a model would write it."""
    return value if isinstance(value, str) else ("yes" if value else "no")


def _described(instructions: str, answers: Sequence[tuple[str, str | None]]) -> str:
    """Return instructions with a line below them for each answer that is described."""
    lines = [f"{answer}: {description}" for answer, description in answers if description]
    return "\n".join([instructions, *lines] if instructions.strip() else lines)


class DecisionBody(Body):
    """POST /v1/decisions."""

    model: str = Field(min_length=1, max_length=256)
    input: str | list[InputMessage]
    questions: list[Question] = Field(min_length=1, max_length=400)
    safety_identifier: str | None = Field(None, max_length=256)


class FeedbackBody(Body):
    """POST /v1/feedback: what somebody thought of an answer, by the id that it came with."""

    id: str = Field(min_length=1, max_length=128)
    thumbs: Literal["up", "down"] | None = None
    score: float | None = Field(None, ge=0, le=1)
    correction: str | None = Field(None, max_length=_TEXT)
    comment: str | None = Field(None, max_length=_TEXT)
