"""Foreign prompt templates and end tokens inside rows, found and taken off: one renderer adds the base's own.

Rows that were written for another model often carry its template as text. Learnt as they stand, they would teach that
text on top of the base's template, and an end token that is only letters.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from metier.core.types import ChatRow, JudgedRow, LabelledRow, Message, PreferenceRow, Row, TaskRow, TextRow
from metier.text.messages import UnusableRow

__all__ = ["UnusableRow", "found", "unwrapped"]

_FEWEST = 0.2
"""Share of the rows looked at that must carry a mark, before it is taken for a template and not for a topic."""

_ENDS = (
    "</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "<end_of_turn>", "<eos>",
    "<EOS>", "[EOS]", "<|eos|>", "###eos_token###", "<|EOT|>", "<|end_of_turn|>", "<|return|>", "[/s]",
    "<｜end▁of▁sentence｜>",
)  # fmt: skip
_STARTS = ("<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "<｜begin▁of▁sentence｜>")
_ALPACA = re.compile(
    r"(?:Below is an instruction that describes a task.*?\n\n)?###\s?Instruction:\s*\n?(?P<instruction>.*?)"
    r"(?:\n+###\s?Input:\s*\n?(?P<input>.*?))?\n+###\s?Response:\s*(?P<answer>.*)",
    re.DOTALL,
)
_NAMED = {
    "chatml": re.compile(r"<\|im_start\|>(system|user|assistant|tool)\n(.*?)(?:<\|im_end\|>\s*|\Z)", re.DOTALL),
    "llama-3": re.compile(
        r"<\|start_header_id\|>(system|user|assistant)<\|end_header_id\|>\s*(.*?)(?:<\|eot_id\|>\s*|\Z)", re.DOTALL
    ),
    "gemma": re.compile(r"<start_of_turn>(user|model)\n(.*?)(?:<end_of_turn>\s*|\Z)", re.DOTALL),
    "zephyr": re.compile(r"<\|(system|user|assistant)\|>\n(.*?)(?=<\|(?:system|user|assistant)\|>\n|\Z)", re.DOTALL),
    "hash-turns": re.compile(
        r"(?:\A|\n)### (Human|Assistant|User|System):[ ]?(.*?)(?=\n### (?:Human|Assistant|User|System):|\Z)", re.DOTALL
    ),
    "vicuna": re.compile(r"(?:\A|\s)(USER|ASSISTANT): ?(.*?)(?=\s(?:USER|ASSISTANT):|\Z)", re.DOTALL),
    "transcript": re.compile(r"(?:\A|\n\n)(Human|Assistant): ?(.*?)(?=\n\n(?:Human|Assistant):|\Z)", re.DOTALL),
}
_LLAMA_2 = re.compile(r"\[INST\]\s*(.*?)\s*\[/INST\]\s*(.*?)\s*(?=(?:</s>)?\s*(?:<s>)?\s*\[INST\]|\Z)", re.DOTALL)
_LLAMA_2_SYSTEM = re.compile(r"\A<<SYS>>\s*(.*?)\s*<</SYS>>\s*(.*)\Z", re.DOTALL)
_ROLES = {"human": "user", "user": "user", "assistant": "assistant", "model": "assistant", "system": "system",
          "tool": "tool"}  # fmt: skip
_NAMES = ("alpaca", "llama-2", *_NAMED)
_END = "end token "


def found(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the templates and end tokens that a good share of rows carries, by name."""
    counts: Counter[str] = Counter()
    usable = [row for row in rows if not isinstance(row, LabelledRow)]
    for row in usable:
        prompt, answers = _texts(row)
        name = _name_of(prompt, whole=isinstance(row, TextRow)) if prompt is not None else None
        counts.update([name] if name else [])
        counts.update({end for answer in answers for end in _ends(answer)})
    return tuple(name for name, count in counts.most_common() if count >= max(2, _FEWEST * len(usable)))


def _texts(row: Row) -> tuple[str | None, list[str]]:
    """Return the text that may hold a template (of a row with one question), and those that may end in a token."""
    if isinstance(row, TextRow):
        return row.text, [row.text]
    if isinstance(row, LabelledRow | TaskRow):
        return None, []
    if isinstance(row, ChatRow):
        asked = [turn for turn in row.messages if turn.role == "user"]
        answers = [turn.content for turn in row.messages if turn.role == "assistant"]
        return (asked[0].content if len(asked) == 1 else None), answers
    answers = (*row.chosen, *row.rejected) if isinstance(row, PreferenceRow) else row.completion
    return (row.prompt[-1].content if row.prompt else None), [turn.content for turn in answers]


def _name_of(text: str, *, whole: bool) -> str | None:
    """Return the template of a prompt that waits for an answer, or of a text that holds both."""
    return next((name for name in _NAMES if (turns := _turns(text, name)) and _is_complete(turns, whole)), None)


def _is_complete(turns: Sequence[Message], whole: bool) -> bool:
    roles = [turn.role for turn in turns]
    if whole:
        return "user" in roles and any(turn.role == "assistant" and turn.content for turn in turns)
    return "user" in roles


def _ends(text: str) -> Iterator[str]:
    stripped = text.rstrip()
    for end in _ENDS:
        if stripped.endswith(end):
            yield _END + end


def unwrapped(row: Row, names: Collection[str]) -> Row:
    """Return a row without the templates and end tokens of these names; the row itself when it carries none.

    Raises:
        UnusableRow: nothing is left of an answer.
    """
    if isinstance(row, LabelledRow | TaskRow):
        return row
    if isinstance(row, TextRow):
        return _of_text(row, names)
    if isinstance(row, ChatRow):
        turns = tuple(bare for turn in row.messages for bare in _bare(turn, row.messages, names))
        return row if turns == row.messages else replace(row, messages=turns)
    prompt = tuple(bare for turn in row.prompt for bare in _bare(turn, row.prompt, names))
    if isinstance(row, PreferenceRow):
        chosen, rejected = _answers(row.chosen, names), _answers(row.rejected, names)
        same = (prompt, chosen, rejected) == (row.prompt, row.chosen, row.rejected)
        return row if same else replace(row, prompt=prompt, chosen=chosen, rejected=rejected)
    assert isinstance(row, JudgedRow)
    completion = _answers(row.completion, names)
    return (
        row
        if (prompt, completion) == (row.prompt, row.completion)
        else replace(row, prompt=prompt, completion=completion)
    )


def _of_text(row: TextRow, names: Collection[str]) -> Row:
    """Make a conversation of a text that is one."""
    for name in names:
        turns = _turns(_without_ends(row.text, names), name) if name in _NAMES else []
        if turns and _is_complete(turns, True):
            messages = [turn for turn in turns if turn.content]
            carried = {"group": row.group, "slice": row.slice, "weight": row.weight, "time": row.time,
                       "synthetic": row.synthetic, "difficulty": row.difficulty}  # fmt: skip
            return ChatRow(id="", source=row.source, messages=tuple(messages), **carried)
    text = _without_ends(row.text, names)
    return row if text == row.text else replace(row, text=_required(text))


def _bare(turn: Message, turns: Sequence[Message], names: Collection[str]) -> Iterator[Message]:
    if turn.role == "assistant":
        yield _answer(turn, names)
        return
    alone = sum(other.role == "user" for other in turns) == 1
    for name in names if turn.role == "user" and alone else ():
        inner = _turns(turn.content, name) if name in _NAMES else []
        if inner and _is_complete(inner, False):
            yield from (each for each in inner if each.content)
            return
    yield turn


def _answers(turns: tuple[Message, ...], names: Collection[str]) -> tuple[Message, ...]:
    return tuple(_answer(turn, names) if turn.role == "assistant" else turn for turn in turns)


def _answer(turn: Message, names: Collection[str]) -> Message:
    text = _without_ends(turn.content, names)
    return turn if text == turn.content else replace(turn, content=_required(text))


def _required(text: str) -> str:
    if not text.strip():
        raise UnusableRow("nothing but an end token")
    return text


def _without_ends(text: str, names: Collection[str]) -> str:
    ends = [name.removeprefix(_END) for name in names if name.startswith(_END)]
    while (end := next((end for end in ends if text.rstrip().endswith(end)), None)) is not None:
        text = text.rstrip().removesuffix(end).rstrip()
    return text


def _turns(text: str, name: str) -> list[Message]:
    """Read a text by one template; [] when it is not of this one."""
    bare = text.strip()
    for start in _STARTS:
        bare = bare.removeprefix(start).lstrip()
    if name == "alpaca":
        return _alpaca(bare)
    if name == "llama-2":
        return _llama_2(bare)
    pattern = _NAMED[name]
    matches = list(pattern.finditer(bare))
    if not matches or bare[: matches[0].start()].strip() or bare[matches[-1].end() :].strip():
        return []
    if len(matches) == 1 and name in ("vicuna", "transcript"):
        return []
    turns = [Message(role=_ROLES[match[1].lower()], content=match[2].strip()) for match in matches]
    return turns if len({turn.role for turn in turns}) > 1 or name not in ("hash-turns",) else []


def _alpaca(text: str) -> list[Message]:
    match = _ALPACA.fullmatch(text)
    if match is None:
        return []
    asked = match["instruction"].strip()
    if match["input"] and match["input"].strip():
        asked += "\n\n" + match["input"].strip()
    return [Message(role="user", content=asked), Message(role="assistant", content=match["answer"].strip())]


def _llama_2(text: str) -> list[Message]:
    matches = list(_LLAMA_2.finditer(text))
    if not matches or text[: matches[0].start()].strip():
        return []
    turns: list[Message] = []
    for match in matches:
        asked = match[1]
        if not turns and (system := _LLAMA_2_SYSTEM.match(asked)):
            turns.append(Message(role="system", content=system[1]))
            asked = system[2]
        turns += [
            Message(role="user", content=asked),
            Message(role="assistant", content=_without_ends(match[2], ["end token </s>"])),
        ]
    return turns
