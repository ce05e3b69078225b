"""Tables with one turn a row: a conversation's number, who speaks, and what is said."""

from collections.abc import Iterator

from metier.text.formats.columns import MESSAGE
from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values, chat
from metier.text.messages import UnusableRow

THREAD = ("thread", "conversation_id", "conversationid", "thread_id", "dialogue_id", "dialog_id", "session_id",
          "ticket_id", "chat_id")  # fmt: skip
SPEAKER = ("speaker", "role", "author", "sender", "from", "author_role", "author_type")
OURS = {"assistant", "agent", "support", "staff", "operator", "bot", "rep", "representative", "employee", "admin",
        "advisor", "gpt", "model", "system_agent", "csr", "helpdesk"}  # fmt: skip
THEIRS = {"user", "customer", "client", "requester", "end-user", "end_user", "visitor", "guest", "human", "prompter",
          "caller", "member"}  # fmt: skip


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record is one turn, or a conversation that reading has put together."""
    return isinstance(record.get("turns"), list) or all(
        isinstance(record.get(columns[role]), str | int) for role in ("thread", "speaker", "text")
    )


def translate(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield the conversation that reading has put together out of the turns."""
    turns = record.get("turns")
    if not isinstance(turns, list):
        raise UnusableRow("a turn of no conversation")
    yield chat(_merged(turns), group=record.get("group"))


def _merged(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """Put what one speaker says in a row into one turn."""
    merged: list[dict[str, str]] = []
    for turn in turns:
        if merged and merged[-1]["role"] == turn["role"]:
            merged[-1] = merged[-1] | {"content": merged[-1]["content"] + "\n" + turn["content"]}
        else:
            merged.append(turn)
    while merged and merged[-1]["role"] != "assistant":
        merged.pop()
    return merged


def role_of(speaker: str, ours: set[str]) -> str:
    """Return who speaks. `ours`: names the user gave, in small letters; without any, the usual words decide."""
    name = speaker.strip().lower()
    if name == "system":
        return "system"
    if ours:
        return "assistant" if name in ours or any(one in name for one in ours if "@" in one) else "user"
    if name in OURS:
        return "assistant"
    if name in THEIRS:
        return "user"
    raise UnusableRow("nobody said who this speaker is", f"{speaker[:40]!r}; name our side: prepare.read.ours")


FORMAT = Foreign(
    name="turns",
    says="one turn a row, put together by conversation",
    fits=fits,
    translate=translate,
    roles={"thread": THREAD, "speaker": SPEAKER, "text": MESSAGE},
)
