"""Tickets of help desks: a request with the comments below it, or the parts of a conversation (Intercom)."""

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values
from metier.text.formats.foreign.turns import FORMAT as TURNS
from metier.text.formats.foreign.turns import OURS, THEIRS
from metier.text.messages import UnusableRow

_COMMENTS = ("comments", "conversations", "conversation_parts", "notes")
_BODIES = ("plain_body", "body_text", "description_text", "body", "description", "html_body")
_WRITERS = ("author_id", "user_id", "from_email")
_TAG = re.compile(r"<(?:br|/p|/div|/li)\b[^>]*>", re.IGNORECASE)
_ANY_TAG = re.compile(r"<[a-zA-Z/][^>]*>")


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record is a ticket with comments of several people."""
    comments = _comments(record)
    opened = "requester_id" in record or isinstance(record.get("source"), dict) or "subject" in record
    return opened and bool(comments) and any(_said(comment) is not None for comment in comments)


def _comments(record: Values) -> list[Mapping[str, Any]]:
    for name in _COMMENTS:
        found = record.get(name)
        found = found.get(name) if isinstance(found, dict) else found
        if isinstance(found, list):
            return [comment for comment in found if isinstance(comment, dict)]
    return []


def _said(comment: Mapping[str, Any]) -> str | None:
    """Return what a comment says as plain text."""
    for name in _BODIES:
        text = comment.get(name)
        if isinstance(text, str) and text.strip():
            if _ANY_TAG.search(text):
                text = html.unescape(_ANY_TAG.sub("", _TAG.sub("\n", text)))
            return text.strip()
    return None


def translate(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield the conversation between the requester and the desk; notes that customers never saw are left out."""
    turns: list[dict[str, Any]] = []
    first = record["source"] if isinstance(record.get("source"), dict) else record
    opening = _said(first)
    if opening is not None:
        turns.append({"role": "user", "content": opening})
    for comment in _comments(record):
        said = _said(comment)
        if said is None or comment.get("public") is False or comment.get("private") is True:
            continue
        if comment.get("part_type") in ("note", "assignment", "close") or said == opening:
            continue
        turns.append({"role": _role(comment, record), "content": said})
    requester = record.get("requester_id")
    yield from TURNS.translate({"turns": turns, "group": str(requester) if requester else None}, columns)


def _role(comment: Mapping[str, Any], record: Values) -> str:
    writer = comment.get("author")
    kind = writer.get("type") or writer.get("role") if isinstance(writer, dict) else comment.get("author_role")
    if isinstance(kind, str) and kind.lower() in OURS | THEIRS:
        return "assistant" if kind.lower() in OURS else "user"
    if isinstance(comment.get("incoming"), bool):
        return "user" if comment["incoming"] else "assistant"
    identity = next((comment[name] for name in _WRITERS if comment.get(name) is not None), None)
    if identity is None or record.get("requester_id") is None:
        raise UnusableRow("a comment that does not say whose it is", "no author, role or requester")
    return "user" if identity == record["requester_id"] else "assistant"


FORMAT = Foreign(name="ticket", says="tickets with their comments", fits=fits, translate=translate)
