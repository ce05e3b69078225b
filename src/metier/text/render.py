"""The only place where a row becomes tokens and label weights: for training, evaluation and serving alike."""

from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metier.core import digest
from metier.core.errors import DataError, SettingsError
from metier.core.types import (
    ChatRow,
    Dropped,
    JudgedRow,
    LabelledRow,
    Message,
    PreferenceRow,
    Reasoned,
    Row,
    Sequence,
    TaskRow,
    TextRow,
)
from metier.text import folder as folder_files
from metier.text import layout, windows
from metier.text import template as templates
from metier.text.guard import Marked
from metier.text.layout import Conversation, Layout
from metier.text.settings import TextSettings
from metier.text.template import Template, TemplateRefusal
from metier.text.tokenizer import Tokenizer
from metier.text.turns import as_seen

VERSION = 2
"""Raised whenever the same row gives other tokens than before; part of every cache key."""

TOO_LONG = "too long"
REFUSED = "refused by the chat template"
NOTHING_LEARNT = "nothing to learn"
NOT_UNICODE = "not Unicode"

_UNKNOWN_CONTEXT = 2048
_PROBE = "metier_probe"
_MANY_TURNS = 100
"""Of conversations with more learnt turns the last is written first, to see whether they are not too long anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Everything that decides how a row becomes tokens. `limit` is the longest sequence, in tokens.

    `lead`: what the template writes of an answer before its text, behind the prompt: nothing, or an empty thought.
    """

    tokenizer: Tokenizer
    template: Template
    limit: int
    settings: TextSettings
    choices: tuple[Reasoned, ...]
    lead: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of all that changes the tokens of a row."""
        settings = self.settings.model_dump(mode="json", exclude={"template", "max_tokens", "most_lost_share", "today"})
        parts = [VERSION, self.tokenizer.digest, self.template.digest, self.limit, settings]
        return digest.of_value(parts)


def open_renderer(folder: Path, settings: TextSettings) -> Renderer:
    """Read the text side of a base folder.

    Raises:
        ModelError: the folder's tokenizer or template cannot be used.
        SettingsError: `text.template` cannot be read, or `text.max_tokens` is more than the base can read.
    """
    tokenizer = Tokenizer.load(folder)
    template, chosen = templates.choose(tokenizer, settings)
    limit = _limit(tokenizer, settings)
    return Renderer(
        tokenizer=tokenizer, template=template, limit=limit.value, settings=settings, choices=(*chosen, limit),
        lead=_lead(template),
    )  # fmt: skip


def open_trained(folder: Path, base_folder: Path, settings: TextSettings) -> Renderer:
    """Read the text side of what was trained on a base; see `open_renderer`.

    How long a row may be is the base's: beside an adapter there is a tokenizer, which says something else or nothing.
    """
    longest = settings.max_tokens if settings.max_tokens is not None else folder_files.read(base_folder).context
    return open_renderer(folder, settings.model_copy(update={"max_tokens": longest}))


def _lead(template: Template) -> str:
    """Return what stands between the prompt of a question and the text of its answer."""
    turns = [{"role": "user", "content": _PROBE}, {"role": "assistant", "content": _PROBE}]
    (texts,) = template.render_cuts([templates.Beginnings(turns, None, [(1, True), (2, False)])])
    if isinstance(texts, TemplateRefusal) or not texts[1].startswith(texts[0]):
        return ""
    lead, found, _ = texts[1][len(texts[0]) :].partition(_PROBE)
    return lead if found else ""


def _limit(tokenizer: Tokenizer, settings: TextSettings) -> Reasoned:
    name, wanted, context = "text.max_tokens", settings.max_tokens, tokenizer.context
    if wanted is not None and context is not None and wanted > context:
        raise SettingsError(
            f"{name}: {wanted:,}", f"at most {context:,}, the base's context", "lower it, or leave it out"
        )
    if wanted is not None:
        return Reasoned(name=name, value=wanted, reason="as set")
    if context is not None:
        return Reasoned(name=name, value=context, reason="the base's context")
    return Reasoned(name=name, value=_UNKNOWN_CONTEXT, reason="the base does not say its context")


def render(row: Row, renderer: Renderer) -> tuple[Sequence, ...] | Dropped:
    """Turn a row into token sequences with label weights, or say why it cannot go on.

    Conversations give one sequence (several if the template rewrites earlier turns); plain text gives windows of at
    most `limit` tokens. The weight of a learnt token is the row's weight times the turn's.

    Raises:
        ProofError: the template is not prefix-stable for this row.
        DataError: the row is too long and `text.too_long` is "refuse"; or there is no answer in it to learn.
    """
    return render_many([row], renderer)[0]


def render_many(rows: Items[Row], renderer: Renderer) -> list[tuple[Sequence, ...] | Dropped]:
    """Render rows together, which is faster; see `render`. A hundred or so at once are enough."""
    plain = [row for row in rows if isinstance(row, TextRow)]
    special = renderer.settings.special_tokens_in_text
    ids = iter(windows.text_ids(plain, renderer.tokenizer, special=special))
    conversations = [
        _as_far_as_needed(conversation_of(row, renderer), renderer) for row in rows if not isinstance(row, TextRow)
    ]
    texts = layout.beginnings(conversations, renderer.tokenizer, renderer.template)
    laid = (_laid_out(*each, renderer) for each in zip(conversations, texts, strict=True))
    return [
        _windowed(row, next(ids), renderer) if isinstance(row, TextRow) else _sequences(row, next(laid), renderer)
        for row in rows
    ]


def conversation_of(row: Row, renderer: Renderer) -> Conversation:
    """Return what the template sees of a row; labelled rows are a user's text and the assistant's label.

    Of a preference it is the better answer, and nothing of the prompt is learnt.

    Raises:
        DataError: a judged row, which cannot be learnt yet, a task, which has no answer, or plain text.
    """
    row = row.better if isinstance(row, PreferenceRow) else row
    if isinstance(row, LabelledRow):
        messages = (Message(role="user", content=row.text), Message(role="assistant", content=row.label))
        tools: tuple[dict[str, Any], ...] = ()
    elif isinstance(row, ChatRow):
        messages, tools = row.messages, row.tools
    elif isinstance(row, JudgedRow):
        raise DataError(
            f"{row.source}: a judged row", "chat, labelled or text rows",
            "this version learns no judgements; keep the rows whose label is true, without that column",
        )  # fmt: skip
    elif isinstance(row, TaskRow):
        raise DataError(
            f"{row.source}: a task without an answer", "chat, labelled or text rows",
            "let a grader judge answers (train.objective: reinforce); or where a column holds the answer, learn that: "
            "prepare.columns: {prompt: messages, completion: reference_answer}",
        )  # fmt: skip
    else:
        raise DataError(f"{row.source}: plain text", "a conversation")
    return conversation_from(row, messages, tools, renderer)


def conversation_from(
    row: Row, messages: tuple[Message, ...], tools: tuple[dict[str, Any], ...], renderer: Renderer
) -> Conversation:
    """Return what the template sees of these turns and functions of a row, with the system prompt that is set."""
    system = renderer.settings.system
    if system is not None and not any(message.role in ("system", "developer") for message in messages):
        messages = (Message(role="system", content=system), *messages)
    return Conversation(
        messages=[as_seen(message, renderer.template) for message in messages],
        tools=tools,
        weights=[_weight(message) * row.weight for message in messages],
        source=row.source,
    )


def _weight(message: Message) -> float:
    if message.role != "assistant":
        return 0.0
    return 1.0 if message.weight is None else message.weight


def _as_far_as_needed(conversation: Conversation, renderer: Renderer) -> Conversation:
    """Return a conversation of many turns with its last answer alone where that is too long already.

    It is not learnt then, and two beginnings of each of ten thousand turns take minutes to write.
    """
    learnt = conversation.learnt
    if len(learnt) <= _MANY_TURNS:
        return conversation
    weights = [weight if number == learnt[-1] else 0.0 for number, weight in enumerate(conversation.weights)]
    last = replace(conversation, weights=weights)
    (texts,) = layout.beginnings([last], renderer.tokenizer, renderer.template)
    laid = _laid_out(last, texts, renderer)
    fits = isinstance(laid, DataError) or max(len(each.ids) for each in laid) <= renderer.limit
    return conversation if fits else last


def _laid_out(
    conversation: Conversation, texts: list[Marked] | DataError, renderer: Renderer
) -> tuple[Layout, ...] | DataError:
    if isinstance(texts, DataError):
        return texts
    try:
        return layout.lay_out(conversation, texts, renderer.tokenizer, renderer.template)
    except DataError as error:
        return error


def _sequences(row: Row, laid: tuple[Layout, ...] | DataError, renderer: Renderer) -> tuple[Sequence, ...] | Dropped:
    if isinstance(laid, DataError):
        return _dropped(row, REFUSED if isinstance(laid, TemplateRefusal) else NOT_UNICODE, str(laid))
    if not laid:
        return _dropped(row, NOTHING_LEARNT, "no assistant turn with a weight")
    longest = max(len(each.ids) for each in laid)
    if longest > renderer.limit:
        return too_long(row, longest, renderer)
    return tuple(_sequence(each, row) for each in laid)


def _sequence(laid: Layout, row: Row) -> Sequence:
    weights = np.zeros(len(laid.ids), np.float32)
    for turn in laid.turns:
        weights[turn.start : turn.end] = turn.weight
    weights[:1] = 0  # nothing precedes the first token
    return Sequence(ids=np.asarray(laid.ids, np.int32), weights=weights, row_id=row.id, source=row.source)


def _windowed(row: TextRow, ids: list[int] | DataError, renderer: Renderer) -> tuple[Sequence, ...] | Dropped:
    if isinstance(ids, DataError):
        return _dropped(row, NOT_UNICODE, str(ids))
    found = windows.cut(row, ids, renderer.tokenizer, renderer.limit)
    return found or _dropped(row, NOTHING_LEARNT, "no text" if row.weight > 0 else "weight 0")


def too_long(row: Row, tokens: int, renderer: Renderer) -> Dropped:
    """Return what stands for a row of so many tokens, more than the limit.

    Raises:
        DataError: `text.too_long` is "refuse".
    """
    detail = f"{tokens:,} tokens, limit {renderer.limit:,}"
    if renderer.settings.too_long == "refuse":
        raise DataError(f"{row.source}: {detail}", "rows that fit", "raise text.max_tokens or set text.too_long: drop")
    return _dropped(row, TOO_LONG, detail)


def _dropped(row: Row, reason: str, detail: str) -> Dropped:
    label = row.label if isinstance(row, LabelledRow) else None
    return Dropped(source=row.source, reason=reason, detail=detail, label=label)
