"""The values that cross doors between rooms: rows as people write them, sequences as models read them.

Shapes: T = tokens of one sequence.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation.

    `content` is the text ("" when a turn only calls tools). `tool_calls` are the calls as they were read, never
    re-typed: their `arguments` keep the bytes they came with. `weight` weighs the loss on an assistant turn
    (None = the row's default: every assistant turn counts 1).
    """

    role: str
    content: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    name: str | None = None
    tool_call_id: str | None = None
    weight: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the message as a chat template expects it, without empty keys and without the weight."""
        data: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            data["tool_calls"] = [dict(call) for call in self.tool_calls]
        if self.name is not None:
            data["name"] = self.name
        if self.tool_call_id is not None:
            data["tool_call_id"] = self.tool_call_id
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBase:
    """What every row carries.

    `id` is the content hash, `source` is `file:line`; both are given once, at reading. `group` names what must not be
    split (a user, a document), `slice` a part of the data to report on its own, `weight` multiplies the row's loss.
    `time` is when the row came about, in seconds since 1970 UTC (None: unknown). A `synthetic` row was written by a
    program: it is only ever trained on. `difficulty` is how hard its author finds it, in a unit of theirs.
    """

    id: str
    source: str
    group: str | None = None
    slice: str | None = None
    weight: float = 1.0
    time: float | None = None
    synthetic: bool = False
    difficulty: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRow(RowBase):
    """A conversation; assistant turns are learnt. `tools` are function schemas, verbatim."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    parallel_tool_calls: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRow(RowBase):
    """A text and what belongs to it: `label` as text.

    `answer` says what that text is: the name of one label, a JSON list of names (perhaps empty), or a number.
    """

    text: str
    label: str
    answer: Literal["label", "labels", "score"] = "label"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRow(RowBase):
    """Plain text, learnt whole."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceRow(RowBase):
    """A prompt with a better and a worse answer."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()

    @property
    def better(self) -> ChatRow:
        """The conversation with the better answer, of which nothing but that answer is learnt."""
        common = {field.name: getattr(self, field.name) for field in fields(RowBase)}
        asked = (replace(turn, weight=0.0) for turn in self.prompt)
        return ChatRow(messages=(*asked, *self.chosen), tools=self.tools, **common)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRow(RowBase):
    """A prompt with one answer, and whether it is a good one."""

    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    good: bool
    tools: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow(RowBase):
    """A prompt without an answer, and what a grader needs to judge one: reinforcement fine-tuning.

    `checker` holds the record's fields beside the prompt (OpenAI's `item.*`), verbatim.
    """

    prompt: tuple[Message, ...]
    checker: dict[str, Any]
    tools: tuple[dict[str, Any], ...] = ()


Row = ChatRow | LabelledRow | TextRow | PreferenceRow | JudgedRow | TaskRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A row that does not go on: where it came from and why. `detail` may hold figures; `reason` groups the counts.

    `rule` names what dropped it while preparing, `row_id` the row where it had become one.
    """

    source: str
    reason: str
    detail: str = ""
    label: str | None = None
    rule: str = ""
    row_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequence:
    """A row as tokens.

    `ids` int32 [T]; `weights` float32 [T]: `weights[t]` weighs predicting `ids[t]` from what precedes it, 0 = context
    only (so `weights[0]` is always 0). This is the only place where targets and positions are tied together.
    `target` float32 [K]: what a head is to say at the one label; of one of two answers, [1], what the base gives it in
    nats; of a graded one, [2], its advantage and how many answers it stands for. `partner`: the same answer behind
    another prompt.
    """

    ids: np.ndarray
    weights: np.ndarray
    row_id: str
    source: str = ""
    target: np.ndarray | None = None
    partner: "Sequence | None" = None

    def __len__(self) -> int:
        """Return the number of tokens T."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoned:
    """A setting the program chose by itself, and why, for the lines that every run prints first."""

    name: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One metric of one model on one row; `value` in the metric's own unit (0/1 for right or wrong, nats for loss)."""

    row_id: str
    model: str
    metric: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said to one held-out row, kept so that a person can read it beside the reference."""

    row_id: str
    source: str
    model: str
    prompt: str
    reference: str
    output: str
    slice: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
