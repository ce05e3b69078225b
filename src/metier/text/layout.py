"""Finds what of a conversation is learnt, by rendering its beginnings: no markers in the template are needed.

For every assistant turn k two beginnings are rendered: the prompt (the turns before k, with the generation prompt: what
a server would send) and the answer (the turns up to k). If each is a prefix of the whole, in text and in tokens, one
sequence carries all turns. If the template writes earlier turns differently later on, every turn becomes a sequence
of its own, as the server would have seen it. If even that cannot be proven, it is an error, never a guess.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.core.errors import DataError, ProofError
from metier.text import guard
from metier.text.guard import Marked
from metier.text.template import Beginnings, Template
from metier.text.tokenizer import Tokenizer

_FOLLOW_UP = {"role": "user", "content": "And?"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One learnt turn inside the ids of a sequence: from its first token to after its stop token."""

    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A sequence before it becomes arrays: ids, and the turns that are learnt."""

    ids: list[int]
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What a template sees of a row, with the weight of every message (0 = context)."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    weights: Sequence[float]
    source: str

    @property
    def learnt(self) -> list[int]:
        """The numbers of the messages that carry weight."""
        return [number for number, weight in enumerate(self.weights) if weight > 0]


@dataclass(frozen=True, slots=True)
class _Cut:
    """The prompt before an assistant turn and the text up to its end, as rendered and as ids."""

    number: int
    prompt: Marked
    answer: Marked
    prompt_ids: list[int]
    answer_ids: list[int]

    @property
    def stable(self) -> bool:
        """Whether the prompt is a prefix of the answer, in text and in tokens."""
        return _begins(self.answer.text, self.prompt.text) and _begins(self.answer_ids, self.prompt_ids)


def beginnings(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, template: Template
) -> list[list[Marked] | DataError]:
    """Render what `lay_out` needs of each conversation, in one go; errors of single conversations are returned.

    For each learnt turn: the prompt before it, and the text up to its end.
    """
    return render_marked(
        [
            (each, [cut for number in each.learnt for cut in ((number, True), (number + 1, False))])
            for each in conversations
        ],
        tokenizer,
        template,
    )


def render_marked(
    asked: Sequence[tuple[Conversation, Sequence[tuple[int, bool]]]], tokenizer: Tokenizer, template: Template
) -> list[list[Marked] | DataError]:
    """Render beginnings of conversations with the rows' own special-token strings marked.

    Args:
        asked: conversations, each with pairs (number of messages, with the generation prompt?).
        tokenizer: says which strings to mark.
        template: renders.

    Returns:
        for each conversation its texts, or the error that its text or the template gives.
    """
    results: list[list[Marked] | DataError] = []
    ready: list[tuple[int, str | None, Beginnings]] = []
    for place, (conversation, cuts) in enumerate(asked):
        results.append([])
        try:
            mark, messages, tools = _marked(conversation, tokenizer)
        except DataError as error:
            results[place] = error
        else:
            ready.append((place, mark, Beginnings(messages, tools, cuts)))
    answers = template.render_cuts([request for _, _, request in ready])
    for (place, mark, _), answer in zip(ready, answers, strict=True):
        results[place] = answer if isinstance(answer, DataError) else [Marked(text, mark) for text in answer]
    return results


def _marked(conversation: Conversation, tokenizer: Tokenizer) -> tuple[str | None, Sequence[Any], Sequence[Any]]:
    """Return a mark, or None when none is needed, and the messages and tools with it inside special-token strings."""
    text = "\0".join(guard.strings_in([conversation.messages, conversation.tools]))
    if not tokenizer.may_hold_control(text):
        return None, conversation.messages, conversation.tools
    mark = guard.free_character(guard.MARKS, text)
    return mark, tokenizer.with_marks(conversation.messages, mark), tokenizer.with_marks(conversation.tools, mark)


def lay_out(
    conversation: Conversation, texts: Sequence[Marked], tokenizer: Tokenizer, template: Template
) -> tuple[Layout, ...]:
    """Return the sequences of a conversation: one if the template is prefix-stable, else one for each learnt turn.

    Messages after the last learnt turn carry no label and are left out. Conversations without a learnt turn give ().

    Args:
        conversation: what the template saw.
        texts: what `beginnings` made of it.
        tokenizer: of the base.
        template: that made the texts.

    Raises:
        ProofError: a prompt is not the beginning of the text that answers it.
        DataError: a text is not valid Unicode.
    """
    ids = tokenizer.encode_marked_batch(texts)
    cuts = [
        _Cut(number, texts[2 * place], texts[2 * place + 1], ids[2 * place], ids[2 * place + 1])
        for place, number in enumerate(conversation.learnt)
    ]
    turns = [_turn(cut, conversation, tokenizer, template) for cut in cuts]
    if turns and _all_in_one(cuts, turns):
        return (Layout(ids=turns[-1][0], turns=tuple(turn for _, turn in turns)),)
    return tuple(Layout(ids=ids, turns=(turn,)) for ids, turn in turns)


def _turn(cut: _Cut, conversation: Conversation, tokenizer: Tokenizer, template: Template) -> tuple[list[int], Turn]:
    """Return the ids of one turn with everything before it, ending with its stop token, and where it is learnt."""
    prompt_ids, ids = cut.prompt_ids, cut.answer_ids
    if not cut.stable:
        ids = _joined(cut, conversation, tokenizer, template)
    start = len(prompt_ids)
    end = _after_last(ids, start, tokenizer.stop_ids)
    if end is None:
        stop = _stop_of_next_message(cut, ids, conversation, tokenizer, template)
        ids = ids + stop
        # without any stop, end where the template does, for the proof to name what stands there
        end = len(ids) if stop else _after_last(ids, start, tokenizer.special_tokens.values()) or len(ids)
    return ids[:end], Turn(start=start, end=end, weight=conversation.weights[cut.number])


def _joined(cut: _Cut, conversation: Conversation, tokenizer: Tokenizer, template: Template) -> list[int]:
    """Put the answer's own tokens behind the prompt's where a token of the whole would span the border.

    That is what a server does: it encodes the prompt, and the model goes on from there.
    """
    where = f"{conversation.source}: the prompt before message {cut.number + 1}"
    advice = "use a chat template that only appends (text.template), or shorten the row to one answer"
    if not _begins(cut.answer.text, cut.prompt.text):
        wanted = "a prefix of the conversation that answers it"
        raise ProofError(f"{where}, as {template.name} writes it, is not how the whole begins", wanted, advice)
    tail = replace(cut.answer, text=cut.answer.text[len(cut.prompt.text) :])
    ids = tokenizer.encode_parts(cut.prompt, tail)
    same_text = tokenizer.decode(ids, skip_special=False) == tokenizer.decode(cut.answer_ids, skip_special=False)
    if not (_begins(ids, cut.prompt_ids) and same_text):
        raise ProofError(
            f"{where} is a prefix as text but not as tokens", "the same tokens with and without answer", advice
        )
    return ids


def _after_last(ids: Sequence[int], start: int, wanted: Collection[int]) -> int | None:
    """Return the place after the last of the wanted ids from `start` on."""
    return next((place + 1 for place in range(len(ids) - 1, start - 1, -1) if ids[place] in wanted), None)


def _stop_of_next_message(
    cut: _Cut, ids: list[int], conversation: Conversation, tokenizer: Tokenizer, template: Template
) -> list[int]:
    """Return the stop token that opens the next message, where a template ends no turn itself; else [].

    Servers stop at that token, so it is what the model has to learn to say.
    """
    following = _following(cut.number, conversation)
    longer = replace(conversation, messages=[*conversation.messages[: cut.number + 1], following])
    (texts,) = render_marked([(longer, [(cut.number + 2, False)])], tokenizer, template)
    if isinstance(texts, DataError):
        return []
    whole = tokenizer.encode_marked(texts[0])
    stop = whole[len(ids) : len(ids) + 1]
    return stop if _begins(whole, ids) and stop and stop[0] in tokenizer.stop_ids else []


def _following(number: int, conversation: Conversation) -> Mapping[str, Any]:
    """Return a message that may follow a turn: a tool's result where functions are called, else a question."""
    following = conversation.messages[number + 1 : number + 2]
    if following and following[0]["role"] == "tool":
        return following[0]
    calls = conversation.messages[number].get("tool_calls")
    return {"role": "tool", "content": "1", "tool_call_id": calls[0].get("id")} if calls else _FOLLOW_UP


def _all_in_one(cuts: Sequence[_Cut], turns: Sequence[tuple[list[int], Turn]]) -> bool:
    """Tell whether every prompt (as text and tokens) and every turn up to its stop (as tokens) begins the whole."""
    whole, ids = cuts[-1].answer.text, turns[-1][0]
    return all(
        cut.stable and _begins(whole, cut.prompt.text) and _begins(ids, turn_ids)
        for cut, (turn_ids, _) in zip(cuts, turns, strict=True)
    )


def _begins(whole: Sequence[Any], beginning: Sequence[Any]) -> bool:
    return whole[: len(beginning)] == beginning
