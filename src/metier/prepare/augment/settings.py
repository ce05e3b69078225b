"""Which changes are made to copies of rows, and how many copies."""

from typing import Literal

from pydantic import Field, field_validator

from metier.core.settings import Settings

Way = Literal["typos", "casing", "reorder", "swap"]


class AugmentSettings(Settings):
    """What `metier augment` makes; no other command reads it."""

    ways: tuple[Way, ...] = ("typos", "casing", "reorder", "swap")
    """`typos`: slips of the fingers in the question. `casing`: the question in small letters, in capitals, or without
    a capital at its start. `reorder`: its sentences in another order. `swap`: names, addresses, numbers of one row
    put into another, the same everywhere in the row (needs the extra `protect`)."""

    copies: int = Field(1, ge=1, le=10)
    """Changed copies of each row and way."""

    rows: int | None = Field(None, ge=1)
    """Most rows to write, drawn by their content. null: all that can be made."""

    typo_share: float = Field(0.08, gt=0, le=0.5)
    """Part of the words of a question that get a slip, at least one."""

    output: str = "data/augmented.jsonl"
    """File that the rows are written to, relative to metier.yaml. Name it in `data.train` to train on them."""

    @field_validator("ways")
    @classmethod
    def _some(cls, value: tuple[Way, ...]) -> tuple[Way, ...]:
        if not value:
            raise ValueError("name at least one of typos, casing, reorder, swap")
        return value

    @field_validator("output")
    @classmethod
    def _is_lines(cls, value: str) -> str:
        if not value.endswith(".jsonl"):
            raise ValueError("a file name that ends in .jsonl")
        return value
