"""A mould: how a template and a tokenizer together write every conversation of one shape, so that rows are only poured.

Traces say which pieces of text a template puts one after another (`trace`). A token that the tokenizer always cuts out
first, such as `<|im_start|>`, is a hard border: no other token reaches across it, and what stands before and behind is
encoded as if it stood alone. So a conversation is cut *before* each such token, equal pieces are encoded once, and
their ids are put together again. A mould exists only where all this is provable; the rest takes the way of `render`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken

from metier.text.guard import pattern
from metier.text.tokenizer import Tokenizer
from metier.text.trace import Part, Question, Trace, answered, applied

Piece = tuple[Part, ...]
"""What is encoded at once: fixed text and texts of messages."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """One learnt turn among the pieces of a mould.

    It begins in piece `place`, behind what `prompt` makes of the beginning of that piece, and ends with the last stop
    token of piece `stop`, which is the same text in every row.
    """

    message: int
    place: int
    prompt: Piece
    stop: int


@dataclass(frozen=True, slots=True)
class Mould:
    """What all rows share whose texts answer `questions` as noted: their pieces, and where in these they are learnt."""

    questions: tuple[Question, ...]
    pieces: tuple[Piece, ...]
    turns: tuple[Learnt, ...]

    def fits(self, texts: Sequence[str]) -> bool:
        """Tell whether the conversation with these texts is written so."""
        return all(answered(question, texts[question[0]]) == question[-1] for question in self.questions)


def filled(piece: Piece, texts: Sequence[str]) -> str:
    """Return the text of a piece in the conversation with these texts."""
    return "".join([part if isinstance(part, str) else applied(part[1], texts[part[0]]) for part in piece])


def filled_all(piece: Piece, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the text of a piece in many conversations; as `filled`, without asking each row what the piece is."""
    slots = [(place, part) for place, part in enumerate(piece) if not isinstance(part, str)]
    if len(slots) != 1:
        return [filled(piece, texts) for texts in rows]
    place, (number, operations) = slots[0]
    before, after = filled(piece[:place], ()), filled(piece[place + 1 :], ())
    if not operations:
        return [before + texts[number] + after for texts in rows]
    return [before + applied(operations, texts[number]) + after for texts in rows]


def cast(traces: Sequence[Trace], learnt: Sequence[int], tokenizer: Tokenizer) -> Mould | None:
    """Make a mould of the traces of a conversation, or return None where its sequence cannot be put together so.

    Args:
        traces: for each learnt turn the prompt before it and the text up to its end, as in `layout.beginnings`.
        learnt: the numbers of the learnt messages.
        tokenizer: of the base.
    """
    fixed = "\0".join(part for trace in traces for part in trace.parts if isinstance(part, str))
    borders = hard_borders(tokenizer.added_tokens(), fixed, normalised=tokenizer.normalises)
    cuts = [_pieces(trace.parts, borders) for trace in traces]
    whole = cuts[-1]
    turns: list[Learnt] = []
    for number, prompt, answer in zip(learnt, cuts[::2], cuts[1::2], strict=True):
        place, stop = len(prompt) - 1, _stop(answer, tokenizer)
        same = stop is not None and prompt[:place] == whole[:place] and answer[: stop + 1] == whole[: stop + 1]
        if stop is None or not same or stop <= place or not _opens(prompt[place], whole[place]):
            return None
        turns.append(Learnt(number, place, prompt[place], stop))
    questions = tuple(dict.fromkeys(question for trace in traces for question in trace.questions))
    return Mould(questions, whole[: turns[-1].stop + 1], tuple(turns))


def hard_borders(tokens: Collection[AddedToken], text: str, *, normalised: bool) -> tuple[str, ...]:
    """Return the added tokens of a text that no other token can overlap, so that text is always cut there.

    Args:
        tokens: all that the tokenizer cuts out before anything else.
        text: where to look for them.
        normalised: the tokenizer rewrites text before it looks for some of them.
    """
    plain = [
        token.content
        for token in tokens
        if token.content
        and token.content in text
        and not (token.lstrip or token.rstrip or token.single_word)
        and not (normalised and token.normalized)
    ]
    others = [token.content for token in tokens if token.content]
    return tuple(name for name in plain if not any(_overlap(name, other) for other in others))


def _overlap(name: str, other: str) -> bool:
    """Tell whether two tokens could claim the same characters somewhere."""
    if name != other and (name in other or other in name):
        return True
    return any(
        name.endswith(other[:size]) or other.endswith(name[:size]) for size in range(1, min(len(name), len(other)))
    )


def _pieces(parts: Sequence[Part], borders: Sequence[str]) -> tuple[Piece, ...]:
    """Cut a trace before each hard border; the first piece is what stands before the first one, if anything does."""
    found = pattern(borders)
    pieces: list[list[Part]] = [[]]
    for part in parts:
        if not isinstance(part, str):
            pieces[-1].append(part)
            continue
        start = 0
        for match in found.finditer(part):
            _append(pieces[-1], part[start : match.start()])
            pieces.append([])
            start = match.start()
        _append(pieces[-1], part[start:])
    return tuple(tuple(piece) for piece in pieces if piece)


def _append(piece: list[Part], text: str) -> None:
    if text:
        piece.append(text)


def _stop(answer: Sequence[Piece], tokenizer: Tokenizer) -> int | None:
    """Return the last piece with a stop token; None where it depends on what a message says."""
    for place in range(len(answer) - 1, -1, -1):
        if len(answer[place]) != 1 or not isinstance(answer[place][0], str):
            return None
        if not set(tokenizer.stop_ids).isdisjoint(tokenizer.encode(filled(answer[place], ()), special=True)):
            return place
    return None


def _opens(beginning: Piece, piece: Piece) -> bool:
    """Tell whether the text of one piece is how that of another begins, whatever the messages say."""
    last = len(beginning) - 1
    if beginning[:last] != piece[:last] or len(piece) <= last:
        return False
    mine, theirs = beginning[last], piece[last]
    return mine == theirs or (isinstance(mine, str) and isinstance(theirs, str) and theirs.startswith(mine))
