"""Which column of a file is meant: by the names that people usually give."""

import re
from collections import Counter
from collections.abc import Collection, Sequence

GROUPS = ("group", "conversation_id", "conversationid", "thread_id", "dialogue_id", "dialog_id", "session_id",
          "document_id", "doc_id", "ticket_id", "user_id", "customer_id")  # fmt: skip
"""Columns that name what must not be split; a file that has one is grouped by it."""

DOCUMENT = ("text", "content", "document", "body", "markdown", "story", "passage")
MESSAGE = ("text", "message", "sentence", "query", "utterance", "question", "input", "prompt", "comment", "review",
           "description", "content", "body", "title", "subject", "tweet", "headline")  # fmt: skip
LABEL = ("label", "labels", "category", "intent", "class", "topic", "sentiment", "tag", "label_text", "label_name")
SCORE = ("score", "rating", "stars", "grade")
NUMBERING = {"id", "idx", "index", "source", "split"}
ANSWER = ("completion", "response", "answer", "output", "reply", "target", "summary", "answers", "ref", "reference",
          "best_answer", "expected_output")  # fmt: skip


def column(role: str, usual: Sequence[str], names: Counter[str], *, taken: Collection[str]) -> str | None:
    """Return the column that bears one of the usual names; for the label, only when there is no doubt."""
    found = named_like(usual, names, taken)
    if role == "label" and len(found) > 1:
        spelt_out = [name for name in found if plain_name(name) in {"label_text", "label_name"}]
        return spelt_out[0] if [plain_name(name) for name in found if name not in spelt_out] == ["label"] else None
    return found[0] if found else None


def named_like(usual: Sequence[str], names: Counter[str], taken: Collection[str]) -> list[str]:
    """Return the columns that bear one of the usual names, in the order of those."""
    plain = {plain_name(name): name for name in names if name not in taken}
    return [plain[name] for name in usual if name in plain]


def is_reference(name: str) -> bool:
    """Tell whether a column bears the name of what an answer is compared with."""
    plain = plain_name(name)
    return any(word in plain for word in ("reference", "answer", "ground_truth", "solution", "expected", "target"))


def plain_name(name: str) -> str:
    """Return a column's name in small letters, with _ for spaces and dashes."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def listed(names: Counter[str]) -> str:
    """List the columns of a file for a message."""
    shown = [repr(short(name)) for name in list(names)[:12]]
    return ", ".join(shown) + (f" and {len(names) - 12} more" if len(names) > 12 else "") if shown else "none"


def short(name: str) -> str:
    """Cut a name that is too long for a message."""
    return name if len(name) <= 40 else name[:39] + "…"
