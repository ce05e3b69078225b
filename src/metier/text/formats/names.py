"""The names of the known formats and of what a column can be used as, and how a file's records are to be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

FormatName = Literal[
    "chat", "preference", "sharegpt", "alpaca", "completion", "judged", "task", "label", "score", "text",
    "tree", "tree-pairs", "turns", "anthropic", "bedrock", "exchange", "opentelemetry", "langfuse",
    "label-studio", "argilla", "ticket", "instances", "squad", "text-to-sql",
]  # fmt: skip
FORMATS: tuple[str, ...] = get_args(FormatName)
ColumnRole = Literal[
    "messages", "conversations", "system", "tools", "parallel_tool_calls", "instruction", "input", "output", "prompt",
    "context", "completion", "chosen", "rejected", "good", "text", "label", "score", "thread", "speaker", "group",
    "slice", "weight", "time", "synthetic", "difficulty", "checker",
]  # fmt: skip
"""What a column can be used as; `prepare.columns` maps these to the names in the user's file."""

SHARED_ROLES: tuple[ColumnRole, ...] = ("group", "slice", "weight", "time", "synthetic", "difficulty")
"""What a row of any format may carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """How the records of a file are read.

    `columns` maps what a column is used as to its name in the file; `confidence` is the share of the looked-at records
    that fit; `unused` are columns that no row will carry.
    """

    format: FormatName
    columns: Mapping[str, str]
    confidence: float = 1.0
    reason: str = ""
    unused: tuple[str, ...] = ()
