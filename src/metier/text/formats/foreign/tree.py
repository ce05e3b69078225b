"""Conversation trees (Open Assistant): each message has replies, ranked by people where there are several."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values, chat
from metier.text.messages import UnusableRow

_ROLES = {"prompter": "user", "user": "user", "human": "user", "assistant": "assistant", "system": "system"}


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record is a tree, the root of one, or a message that knows its parent."""
    return _is_message(record) or _is_message(record.get("prompt"))


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and ("replies" in value or {"parent_id", "role", "text"} <= value.keys())


def chats(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield every branch as a conversation; an answer that several branches share is learnt once."""
    found = False
    learnt: set[int] = set()
    root = _root(record)
    for branch in _branches(root):
        turns = [_turn(message) for message in branch]
        for turn, message in zip(turns, branch, strict=True):
            if turn["role"] == "assistant":
                if id(message) in learnt:
                    turn["weight"] = 0
                learnt.add(id(message))
        found = True
        yield chat(turns, group=_name(record, root))
    if not found:
        raise UnusableRow("no branch with an answer")


def pairs(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield every two answers of neighbouring rank to the same message, the better one first."""
    found = False
    root = _root(record)
    for above, message in _walk(root, ()):
        ranked = [reply for reply in _replies(message) if isinstance(reply.get("rank"), int | float)]
        ranked = sorted((reply for reply in ranked if _role(reply) == "assistant"), key=lambda reply: reply["rank"])
        for better, worse in pairwise(ranked):
            if better["rank"] < worse["rank"]:
                found = True
                answers = {"chosen": [_turn(better)], "rejected": [_turn(worse)]}
                prompt = [_turn(each) for each in (*above, message)]
                yield Plain("preference", {"prompt": prompt, **answers, "group": _name(record, root)})
    if not found:
        raise UnusableRow("no two answers of different rank")


def _root(record: Values) -> Mapping[str, Any]:
    prompt = record.get("prompt")
    root = prompt if isinstance(prompt, dict) else record
    if not _is_message(root):
        raise UnusableRow("not a message of a tree")
    return root


def _name(record: Values, root: Mapping[str, Any]) -> str | None:
    name = record.get("message_tree_id") or root.get("message_tree_id") or root.get("message_id")
    return str(name) if name else None


def _replies(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the replies that were kept: not deleted, and not turned down by the reviewers."""
    replies = message.get("replies")
    kept = [reply for reply in replies if isinstance(reply, dict)] if isinstance(replies, list) else []
    return [reply for reply in kept if not reply.get("deleted") and reply.get("review_result") is not False]


def _walk(
    root: Mapping[str, Any], above: tuple[Mapping[str, Any], ...]
) -> Iterator[tuple[tuple[Mapping[str, Any], ...], Mapping[str, Any]]]:
    """Yield every message with those above it, without recursion: trees come as deep as their writers like."""
    waiting = [(above, root)]
    while waiting:
        path, message = waiting.pop()
        yield path, message
        waiting += [((*path, message), reply) for reply in reversed(_replies(message))]


def _branches(root: Mapping[str, Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield the branches, each to its last answer; replies of users that nobody answered are left out."""
    for path, message in _walk(root, ()):
        replies = _replies(message)
        is_last = not any(_role(below) == "assistant" for reply in replies for below in _replies(reply))
        if _role(message) == "assistant" and is_last:
            yield (*path, message)


def _role(message: Mapping[str, Any]) -> str | None:
    return _ROLES.get(str(message.get("role")))


def _turn(message: Mapping[str, Any]) -> dict[str, Any]:
    role = _role(message)
    if role is None:
        raise UnusableRow("a turn has an unknown role", f"{str(message.get('role'))[:40]!r}")
    return {"role": role, "content": message.get("text")}


CHATS = Foreign(name="tree", says="conversation trees, each branch a conversation", fits=fits, translate=chats)
PAIRS = Foreign(name="tree-pairs", says="conversation trees, ranked answers in pairs", fits=fits, translate=pairs)
