"""What a row asks: the prompt that a server would see before its last answer, and that answer to compare with."""

from dataclasses import dataclass
from typing import Any

from metier.core.errors import DataError
from metier.core.types import Row, TaskRow
from metier.text import layout, tasks
from metier.text.layout import Conversation
from metier.text.render import Renderer, conversation_from, conversation_of
from metier.text.thought import spoken
from metier.text.turns import reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a server sees before the last assistant turn (`text`, and its `ids`), and what that turn said.

    `written`: the turn as the template writes it, where that is more than its text: calls of functions, thinking.
    """

    ids: list[int]
    reference: str
    text: str
    written: str | None = None


def prompt(row: Row, renderer: Renderer) -> Prompt:
    """Return what a server would see before the row's last assistant turn, and that turn as the reference.

    A turn that only calls tools has the canonical JSON of its calls as reference. A task waits for that turn; its
    reference is the column that bears the name of one, or "".

    Raises:
        DataError: the row has no assistant turn, or the template refuses it.
    """
    conversation, last = question_of(row, renderer)
    longer = not isinstance(row, TaskRow) and _longer(conversation.messages[last], renderer)
    cuts = [(last, True), (last + 1, False)] if longer else [(last, True)]
    (texts,) = layout.render_marked([(conversation, cuts)], renderer.tokenizer, renderer.template)
    if isinstance(texts, DataError):
        raise DataError(f"{row.source}: {texts.found}", texts.wanted, texts.do)
    right = tasks.reference(row) if isinstance(row, TaskRow) else reference(conversation.messages[last])
    before = texts[0].clean
    written = texts[1].clean.removeprefix(before) if longer else None
    return Prompt(ids=renderer.tokenizer.encode_marked(texts[0]), reference=right, text=before, written=written)


def question_of(row: Row, renderer: Renderer) -> tuple[Conversation, int]:
    """Return what the template sees of a row, and how many turns of it stand before its last answer.

    Raises:
        DataError: the row has no assistant turn, and is no task that waits for one.
    """
    if isinstance(row, TaskRow):
        conversation = conversation_from(row, row.prompt, row.tools, renderer)
        return conversation, len(conversation.messages)
    conversation = conversation_of(row, renderer)
    answers = [number for number, message in enumerate(conversation.messages) if message["role"] == "assistant"]
    if not answers:
        raise DataError(f"{row.source}: no assistant turn", "an answer to compare with")
    return conversation, answers[-1]


def _longer(message: Any, renderer: Renderer) -> bool:
    """Tell whether the template may write more than what an assistant turn says and its end."""
    said = message["content"] or ""
    thought = spoken(said) != said or "reasoning_content" in message
    return thought or bool(renderer.lead) or bool(message.get("tool_calls"))
