"""What is asked of which teacher, and how much it may cost."""

from typing import Literal

from pydantic import Field, field_validator

from metier.core.settings import Settings

Method = Literal[
    "paraphrase", "self-instruct", "evolve", "back-translate", "persona", "hard-negatives", "questions", "preference"
]  # fmt: skip


class TeacherSettings(Settings):
    """An endpoint that speaks OpenAI's chat protocol: a provider's, or a server of one's own."""

    base_url: str | None = None
    """Address up to and with the version, such as `http://localhost:8000/v1`. null: none is known, and nothing is
    asked."""

    model: str = "default"
    """Name of the model there."""

    key_variable: str | None = "OPENAI_API_KEY"
    """Environment variable that holds the key; it is sent to `base_url` and written nowhere. null, or a variable that
    is not set: no key is sent."""

    temperature: float = Field(0.9, ge=0, le=2)
    """Sampling temperature; judges are always asked at 0."""

    max_tokens: int = Field(1024, ge=16)
    """Longest answer, in tokens. A row whose answer was cut off there is dropped."""

    concurrency: int = Field(4, ge=1, le=64)
    """Requests under way at one time."""

    retries: int = Field(5, ge=0, le=20)
    """How often a request is sent again after a time-out, a broken answer, or status 408, 409, 429 or 5xx; waits grow
    from half a second, or are as long as the server says."""

    timeout_seconds: float = Field(120.0, gt=0)
    """Longest wait for one answer."""

    price_in: float | None = Field(None, ge=0)
    """Your price of a million tokens sent, in any currency. null: unknown, and no cost is shown."""

    price_out: float | None = Field(None, ge=0)
    """Your price of a million tokens received. null: unknown, and no cost is shown."""


class BudgetSettings(Settings):
    """Where asking stops, whatever is missing then. Earlier runs of the same plan count."""

    requests: int | None = Field(2000, ge=1)
    """Most requests, repeated ones counted. null: any number."""

    tokens: int | None = Field(None, ge=1)
    """Most tokens, sent and received together. null: any number."""

    money: float | None = Field(None, gt=0)
    """Most money at your prices. null: any amount."""


class SynthesiseSettings(Settings):
    """What `metier synthesise` makes; no other command reads it."""

    method: Method = "paraphrase"
    """`paraphrase`, `back-translate`, `persona`: a row's question in other words, its answer kept. `self-instruct`: new
    rows in the manner of a few. `evolve`: harder versions. `hard-negatives`: texts that look like another label;
    for conversations, a plausible wrong answer beside the right one. `questions`: questions and answers from
    documents. `preference`: several answers to a question, of which a judge says the best and the worst."""

    rows: int = Field(100, ge=1)
    """Rows to ask for; what the filters drop is not asked for again."""

    output: str = "data/synthetic.jsonl"
    """File that the rows are written to, relative to metier.yaml. Name it in `data.train` to train on them."""

    documents: tuple[str, ...] = ()
    """Text or Markdown files for `questions`, relative to metier.yaml. Empty: the text rows of the training data."""

    language: str = "French"
    """The language that `back-translate` goes through."""

    samples: int = Field(3, ge=2, le=8)
    """Answers to choose from in `preference`."""

    closest: float = Field(0.7, gt=0, le=1)
    """A row is dropped when it shares more than this part of its word triples with a real row, or with another new
    one. 1: only equal ones are dropped."""

    prompts: str | None = None
    """Folder of your own prompts, Jinja files called as those of the package; one that is missing there is taken from
    the package. null: the package's own."""

    teacher: TeacherSettings = TeacherSettings()
    """Who is asked."""

    budget: BudgetSettings = BudgetSettings()
    """How much at most."""

    @field_validator("output")
    @classmethod
    def _is_lines(cls, value: str) -> str:
        if not value.endswith(".jsonl"):
            raise ValueError("a file name that ends in .jsonl")
        return value
