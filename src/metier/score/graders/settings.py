"""What a list of graders can hold, and where their judges are; imports no torch."""

from typing import Annotated

from pydantic import Field

from metier.core.settings import Settings
from metier.score.graders.openai import LabelModel, Multi, PythonGrader, ScoreModel, StringCheck, TextSimilarity
from metier.score.graders.own import Calls, Checker, Code, Embedding, Fields, Pairwise, Schema, Spans, Style

Single = (
    StringCheck | TextSimilarity | PythonGrader | ScoreModel | LabelModel | Pairwise
    | Embedding | Checker | Schema | Fields | Spans | Calls | Style | Code
)  # fmt: skip
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
