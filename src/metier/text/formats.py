"""Which of the known formats a file of records is in, and how a record of that format becomes a `Row`."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from metier.core.errors import DataError
from metier.core.types import Dropped, Row
from metier.text.builders import BUILDERS, carried, identity, label_or_none
from metier.text.messages import UnusableRow

FormatName = Literal["chat", "preference", "sharegpt", "alpaca", "completion", "label", "score", "text"]
FORMATS: tuple[str, ...] = get_args(FormatName)
ColumnRole = Literal[
    "messages", "conversations", "system", "tools", "parallel_tool_calls", "instruction", "input", "output", "prompt",
    "context", "completion", "chosen", "rejected", "text", "label", "score", "group", "slice", "weight", "time",
    "synthetic",
]  # fmt: skip
"""What a column can be used as; `prepare.columns` maps these to the names in the user's file."""

SHARED_ROLES: tuple[ColumnRole, ...] = ("group", "slice", "weight", "time", "synthetic")
"""What a row of any format may carry."""

_DOCUMENT = ("text", "content", "document", "body", "markdown", "story", "passage")
_MESSAGE = ("text", "message", "sentence", "query", "utterance", "question", "input", "prompt", "comment", "review",
            "description", "content", "body", "title", "subject", "tweet", "headline")  # fmt: skip
_LABEL = ("label", "labels", "category", "intent", "class", "topic", "sentiment", "tag", "label_text", "label_name")
_SCORE = ("score", "rating", "stars", "grade")
_NUMBERING = {"id", "idx", "index", "source", "split"}
_ANSWER = ("completion", "response", "answer", "output", "reply", "target", "summary", "answers", "ref", "reference")
_FEWEST_FITTING = 0.5
_MIXED_SHARE = 0.05


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


@dataclass(frozen=True, slots=True)
class _Shape:
    """One known format: the columns it must and may have (by their usual names) and what their values look like."""

    name: FormatName
    needs: Mapping[str, Sequence[str]]
    fits: Callable[[Mapping[str, Any]], bool]
    may: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def roles(self) -> list[tuple[str, Sequence[str]]]:
        """Return every role with its usual column names, the needed ones first."""
        return [*self.needs.items(), *self.may.items(), *((role, (role,)) for role in SHARED_ROLES)]


def _is_turns(value: Any, key: str) -> bool:
    if isinstance(value, str):
        return value.lstrip().startswith("[") and f'"{key}"' in value
    return isinstance(value, list) and any(isinstance(turn, dict) and key in turn for turn in value[:3])


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_said(value: Any) -> bool:
    return value is None or isinstance(value, str | dict) or _is_turns(value, "role")


def _is_label(found: Mapping[str, Any]) -> bool:
    label = found["label"]
    return all(_is_plain(name) for name in label) if isinstance(label, list) else _is_plain(label)


def _plain(*roles: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda found: all(_is_plain(found.get(role)) for role in roles)


_SYSTEM = {"system": ("system", "system_prompt")}
_TOOLS = {"tools": ("tools",)}
_SHAPES: tuple[_Shape, ...] = (
    _Shape(
        "preference",
        {"input": ("input",), "chosen": ("preferred_output",), "rejected": ("non_preferred_output",)},
        lambda found: isinstance(found["input"], dict) and _is_turns(found["input"].get("messages"), "role"),
    ),
    _Shape(
        "preference",
        {"chosen": ("chosen", "accepted"), "rejected": ("rejected",)},
        lambda found: _is_said(found["chosen"]) and _is_said(found["rejected"]),
        {
            "prompt": ("prompt", "question", "instruction", "query"),
            "context": ("input", "context"),
            **_TOOLS,
            **_SYSTEM,
        },
    ),
    _Shape(
        "chat",
        {"messages": ("messages", "conversation", "conversations", "dialogue", "dialog", "chat")},
        lambda found: _is_turns(found["messages"], "role"),
        {**_TOOLS, "parallel_tool_calls": ("parallel_tool_calls",)},
    ),
    _Shape(
        "sharegpt",
        {"conversations": ("conversations", "conversation", "dialogue", "dialog")},
        lambda found: _is_turns(found["conversations"], "from"),
        {**_SYSTEM, **_TOOLS},
    ),
    _Shape(
        "alpaca",
        {"instruction": ("instruction",), "output": ("output", "response", "completion", "answer")},
        lambda found: _is_plain(found["instruction"]) and _is_said(found["output"]) and _is_plain(found.get("input")),
        {"input": ("input", "context"), **_SYSTEM},
    ),
    _Shape(
        "completion",
        {"prompt": ("prompt", "question", "query", "input", "source", "text", "message"), "completion": _ANSWER},
        lambda found: _is_said(found["prompt"]) and _is_said(found["completion"]) and _is_plain(found.get("context")),
        {"context": ("context", "passage"), **_SYSTEM, **_TOOLS},
    ),
    _Shape("label", {"text": _MESSAGE, "label": _LABEL}, lambda found: _is_plain(found["text"]) and _is_label(found)),
    _Shape("score", {"text": _MESSAGE, "score": _SCORE}, _plain("text", "score")),
    _Shape("text", {"text": _DOCUMENT}, _plain("text")),
)


def recognise(
    records: Sequence[Mapping[str, Any]],
    *,
    columns: Mapping[str, str] | None = None,
    wanted: str = "auto",
    where: str = "the data",
) -> Recognised:
    """Find the format of records by their column names and the types of their values.

    Args:
        records: the first records of a file; a few hundred are enough.
        columns: what the user said: role -> column name. Goes before the usual names.
        wanted: the format the user named, or "auto".
        where: the file, for messages.

    Raises:
        DataError: no format fits, two formats stand mixed, or two columns could both be the label.
    """
    chosen = dict(columns or {})
    names = Counter(name for record in records for name in record)
    _refuse_unknown_columns(chosen, names, where)
    if wanted == "auto" and not chosen:
        _refuse_what_looks_alike(records, where)
    shapes = [shape for shape in _SHAPES if wanted in ("auto", shape.name)]
    found_in = (_try(shape, records, names, chosen) for shape in shapes)
    tried = [found for found in found_in if found is not None and (wanted != "auto" or _is_meant(found, chosen))]
    best = next((found for found in tried if found.confidence >= _FEWEST_FITTING), None)
    if wanted == "auto":
        _refuse_mixture(records, best, tried, where)
    if (best is None or best.format == "text") and wanted in ("auto", "label"):
        _refuse_two_labels(names, chosen, where)
    if best is None:
        raise _unrecognised(names, wanted, where)
    return best


def _try(
    shape: _Shape, records: Sequence[Mapping[str, Any]], names: Counter[str], chosen: Mapping[str, str]
) -> Recognised | None:
    """Fit one shape; None when it lacks a column, cannot use one that the user named, or fits no record."""
    roles = shape.roles()
    if set(chosen) - {role for role, _ in roles}:
        return None
    found: dict[str, str] = {}
    for role, usual in roles:
        name = chosen.get(role) or _column(role, usual, names, taken={*found.values(), *chosen.values()})
        if name is not None:
            found[role] = name
        elif role in shape.needs:
            return None
    fitting = sum(
        all(found[role] in record for role in shape.needs)
        and shape.fits({role: record.get(name) for role, name in found.items()})
        for record in records
    )
    if not fitting:
        return None
    unused = tuple(name for name in names if name not in found.values())
    return Recognised(
        format=shape.name,
        columns=found,
        confidence=fitting / len(records),
        reason=_reason(found, unused),
        unused=unused,
    )


def _is_meant(found: Recognised, chosen: Mapping[str, str]) -> bool:
    """Doubt a number beside a text that has more columns: collections of documents carry scores of their quality."""
    return found.format != "score" or "score" in chosen or not {_plain_name(name) for name in found.unused} - _NUMBERING


def _reason(found: Mapping[str, str], unused: Sequence[str]) -> str:
    named = ", ".join(f"{role} = '{name}'" if role != name else f"'{name}'" for role, name in found.items())
    return f"columns {named}" + (f"; unused: {', '.join(map(_short, unused))}" if unused else "")


def _column(role: str, usual: Sequence[str], names: Counter[str], *, taken: Collection[str]) -> str | None:
    """Return the column that bears one of the usual names; for the label, only when there is no doubt."""
    found = _named_like(usual, names, taken)
    if role == "label" and len(found) > 1:
        spelt_out = [name for name in found if _plain_name(name) in {"label_text", "label_name"}]
        return spelt_out[0] if [_plain_name(name) for name in found if name not in spelt_out] == ["label"] else None
    return found[0] if found else None


def _named_like(usual: Sequence[str], names: Counter[str], taken: Collection[str]) -> list[str]:
    plain = {_plain_name(name): name for name in names if name not in taken}
    return [plain[name] for name in usual if name in plain]


def _plain_name(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _refuse_unknown_columns(chosen: Mapping[str, str], names: Counter[str], where: str) -> None:
    for role, name in chosen.items():
        if name not in names:
            raise DataError(f"{where}: no column {name!r} for prepare.columns.{role}", f"one of {_listed(names)}")


def _refuse_two_labels(names: Counter[str], chosen: Mapping[str, str], where: str) -> None:
    labels = _named_like(_LABEL, names, chosen.values())
    texts = _named_like(_MESSAGE, names, chosen.values())
    if len(labels) > 1 and "label" not in chosen and (texts or "text" in chosen):
        raise DataError(
            f"{where}: {len(labels)} columns could be the label: {', '.join(map(repr, labels))}",
            "one",
            f"say which: prepare.columns: {{label: {labels[0]}}}",
        )


def _refuse_what_looks_alike(records: Sequence[Mapping[str, Any]], where: str) -> None:
    """Refuse what would be read as something that it is not."""
    for record in records:
        if _is_tree(record) or _is_tree(record.get("prompt")):
            raise DataError(
                f"{where}: messages of a conversation tree (parent_id, replies)",
                "whole conversations",
                "write each branch as one row {messages: [...]}",
            )
        if {"prompt", "completion"} <= record.keys() and isinstance(record.get("label"), bool):
            raise DataError(
                f"{where}: judged rows (prompt, completion and label true/false)",
                "rows whose answers are all good",
                "keep the rows with label true and delete that column",
            )


def _is_tree(value: Any) -> bool:
    return isinstance(value, dict) and ("replies" in value or {"parent_id", "role"} <= value.keys())


def _refuse_mixture(
    records: Sequence[Mapping[str, Any]], best: Recognised | None, tried: Sequence[Recognised], where: str
) -> None:
    """Refuse a file of which a good part is in another format than most of it."""
    first = best or max(tried, key=lambda found: found.confidence, default=None)
    if first is None:
        return
    rest = [record for record in records if not _has_needed(first, record)]
    for other in tried:
        fitting = sum(_has_needed(other, record) for record in rest) if other.format != first.format else 0
        if fitting > _MIXED_SHARE * len(records):
            raise DataError(
                f"{where}: two formats mixed: {first.confidence:.0%} {first.format}, "
                f"{fitting / len(records):.0%} {other.format}",
                "one format a file",
                "put them into two files; data.train takes a list of files",
            )


def _has_needed(found: Recognised, record: Mapping[str, Any]) -> bool:
    """Tell whether a record has the columns that the format cannot do without."""
    needs = next(
        shape.needs for shape in _SHAPES if shape.name == found.format and shape.needs.keys() <= found.columns.keys()
    )
    return all(found.columns[role] in record for role in needs)


def _unrecognised(names: Counter[str], wanted: str, where: str) -> DataError:
    if wanted == "auto":
        return DataError(
            f"{where}: no known format (columns: {_listed(names)})",
            "messages · conversations · instruction + output · prompt + completion · chosen + rejected · text + label "
            "· text + score · text",
            "name the columns, for example prepare.columns: {text: body, label: queue}",
        )
    needs = [" + ".join(shape.needs) for shape in _SHAPES if shape.name == wanted]
    return DataError(
        f"{where}: not in the format '{wanted}' (columns: {_listed(names)})",
        " or ".join(needs),
        "leave prepare.format at auto, or map the names with prepare.columns",
    )


def _listed(names: Counter[str]) -> str:
    shown = [repr(_short(name)) for name in list(names)[:12]]
    return ", ".join(shown) + (f" and {len(names) - 12} more" if len(names) > 12 else "") if shown else "none"


def _short(name: str) -> str:
    return name if len(name) <= 40 else name[:39] + "…"


def to_row(
    record: Mapping[str, Any], recognised: Recognised, *, source: str, row_id: str | None = None
) -> Row | Dropped:
    """Turn one record into a row, or say why it cannot be learnt from.

    Args:
        record: as read from the file; nothing in it is changed.
        recognised: the format of its file.
        source: `file:line`.
        row_id: the id, when it was given before (a row of a snapshot). None: the content hash.
    """
    values = {role: record.get(name) for role, name in recognised.columns.items()}
    try:
        common = {"id": row_id or "", "source": source, **carried(values)}
        row = BUILDERS[recognised.format](values, recognised.columns, common)
        return row if row_id else replace(row, id=identity(row))
    except UnusableRow as error:
        return Dropped(source=source, reason=error.reason, detail=error.detail, label=label_or_none(values))
