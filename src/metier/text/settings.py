"""How rows become tokens."""

from datetime import date
from typing import Literal

from pydantic import Field

from metier.core.settings import Settings


class TextSettings(Settings):
    """Rendering of rows into token sequences; the same for training, evaluation and serving."""

    system: str | None = None
    """System turn added in front of conversations that have none. null: nothing is added."""

    template: str = "auto"
    """Chat template: a path to a Jinja file, or `auto`: the base's own, else a plain one of ours."""

    variables: dict[str, str | bool | int | float] = Field(default_factory=dict)
    """What the chat template is told besides the conversation, for example `{enable_thinking: false}`. What it knows
    is in its source; a name that it does not read is refused."""

    max_tokens: int | None = Field(None, ge=8)
    """Longest sequence, in tokens. null: the base's context."""

    too_long: Literal["drop", "refuse"] = "drop"
    """What happens to a conversation longer than `max_tokens`: dropped and counted, or an error. Never cut.
    Plain text is cut into windows instead."""

    most_lost_share: float = Field(0.1, ge=0, le=1)
    """The preflight fails when a larger share of the rows cannot be rendered or is too long."""

    special_tokens_in_text: bool = False
    """Read special-token strings inside plain-text rows as control tokens. Text inside conversations never is."""

    today: date | None = None
    """The day that templates which print today's date show. null: 2025-01-01, so that equal rows give equal tokens
    on every day."""
