"""Rows out of a snapshot, and the questions that every room may ask of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from metier.core import artefact, digest
from metier.core.errors import DataError
from metier.core.types import ChatRow, Dropped, JudgedRow, LabelledRow, Message, PreferenceRow, Row, TaskRow, TextRow
from metier.text import canonical
from metier.text.formats import Recognised, to_row

Kind = Literal["chat", "label", "text", "preference", "judged", "task", "mixed"]
OURS = ("id", "source", canonical.AS)
"""What a snapshot adds to a row as read. A column of the user's that bears such a name is kept under `AS_READ`."""

AS_READ = "_as_read"
_KINDS: Mapping[type, Kind] = {
    ChatRow: "chat", LabelledRow: "label", TextRow: "text", PreferenceRow: "preference", JudgedRow: "judged",
    TaskRow: "task",
}  # fmt: skip


def load_split(snapshot: Path, split: str) -> list[Row]:
    """Read one part of a snapshot.

    Args:
        snapshot: the folder that `prepare` wrote.
        split: "train", "validation" or "test".

    Raises:
        DataError: it is no snapshot, or its files are not what was written.
    """
    return list(iterate(snapshot, split))


def snapshot_behind(run: Path) -> Path:
    """Return where the snapshot is that a run was trained with: in its project, also where that has been moved since.

    Args:
        run: its folder, or that of a version made of it.

    Raises:
        DataError: it does not say.
    """
    try:
        path = Path(artefact.read_json(run / "settings.json")["snapshot"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{run / 'settings.json'}: cannot be read ({error})", "the settings of a run") from error
    here = (above / "snapshots" / path.name for above in list(run.absolute().parents)[:3])
    return next((beside for beside in here if artefact.exists(beside, "snapshot")), path)


def iterate(snapshot: Path, split: str) -> Iterator[Row]:
    """Yield the rows of one part of a snapshot, in the order of their files; see `load_split`."""
    formats = formats_of(snapshot)
    for number, line in enumerate(lines(snapshot, split), 1):
        yield row_of(json.loads(line), formats, f"{snapshot / split}.jsonl:{number}")


def lines(snapshot: Path, split: str) -> Iterator[bytes]:
    """Yield the lines of one part of a snapshot; see `load_split`."""
    path = snapshot / f"{split}.jsonl"
    entry = artefact.read(snapshot, "snapshot").files.get(path.name)
    if entry is None or not path.is_file():
        raise DataError(f"{snapshot}: no {path.name}", "a whole snapshot", f"delete {snapshot} and prepare again")
    if digest.of_file(path) != entry["sha256"]:
        raise DataError(f"{path}: changed since it was written", "its SHA-256", f"delete {snapshot} and prepare again")
    with path.open("rb") as stream:
        yield from stream


def formats_of(snapshot: Path) -> dict[str, Recognised]:
    """Return how the records of each file of a snapshot are read.

    Raises:
        DataError: it is no snapshot.
    """
    sources = artefact.read(snapshot, "snapshot").facts["sources"]
    return {name: _recognised(facts) for name, facts in sources.items()}


def _recognised(facts: Mapping[str, Any]) -> Recognised:
    return Recognised(format=facts["format"], columns=facts["columns"])


def line_of(row: Row, record: Mapping[str, Any] | None = None, text: str = "") -> str:
    """Write a row as a line of a snapshot, which `row_of` reads back.

    Args:
        row: what to write.
        record: the record that it was read from, whose bytes are kept. None: the row is written in canonical form.
        text: that record as one line of JSON.
    """
    ours = json.dumps({"id": row.id, "source": row.source}, ensure_ascii=False)
    if record is None:
        return f"{ours[:-1]}, {json.dumps(canonical.record_of(row), ensure_ascii=False)[1:]}\n"
    if not any(name in record for name in OURS):
        return f"{ours[:-1]}, {text[1:]}\n"
    moved = {free_name(record, key) if key in OURS else key: value for key, value in record.items()}
    return f"{ours[:-1]}, {json.dumps(moved, ensure_ascii=False)[1:]}\n"


def renamed(line: bytes, row_id: str) -> bytes:
    """Return a line of a snapshot with another id; its record stays byte for byte."""
    begin, end = line.index(b'"id": "') + 7, line.index(b'", "source": ')
    return line[:begin] + row_id.encode() + line[end:]


def row_of(record: dict[str, Any], formats: Mapping[str, Recognised], where: str) -> Row:
    """Turn a line of a snapshot back into its row.

    Args:
        record: the line; it is taken apart.
        formats: how the records of each file are read, by the file's name.
        where: what to call the line in a message.

    Raises:
        DataError: it is not what prepare wrote.
    """
    row_id, source = record.pop("id"), record.pop("source")
    written = record.pop(canonical.AS, None)
    restore(record)
    found = canonical.recognised(written) if written is not None else formats[source.rpartition(":")[0]]
    row = to_row(record, found, source=source, row_id=row_id)
    if isinstance(row, Dropped):
        raise DataError(
            f"{where}: {row.reason} (from {source})", "a usable row", "delete the snapshot and prepare again"
        )
    return row


def restore(record: dict[str, Any]) -> None:
    """Give columns that were moved out of the way of ours their own names back, in place."""
    for name in OURS:
        moved = free_name(record, name)
        if moved != name + AS_READ:
            record[name] = record.pop(moved.removesuffix(AS_READ))


def free_name(record: Mapping[str, Any], name: str) -> str:
    """Return the first of name_as_read, name_as_read_as_read … that the record does not have."""
    free = name + AS_READ
    while free in record:
        free += AS_READ
    return free


def kind(rows: Sequence[Row]) -> Kind:
    """Return what the rows are, or "mixed".

    Raises:
        DataError: there are none.
    """
    kinds = {_KINDS[type(row)] for row in rows}
    if not kinds:
        raise DataError("no rows", "at least one")
    return kinds.pop() if len(kinds) == 1 else "mixed"


def input_text(row: Row) -> str:
    """Return what a row asks about, so that rows which ask the same can be kept together.

    For a conversation this is the first user turn: conversations that were cut at each turn begin with the same one.
    For plain text it is the text.
    """
    if isinstance(row, LabelledRow | TextRow):
        return row.text
    turns: Sequence[Message] = row.messages if isinstance(row, ChatRow) else row.prompt
    return next((turn.content for turn in turns if turn.role == "user"), row.id)


def label_of(row: Row) -> str | None:
    """Return the label of a row that has one, None for the others: lists and numbers are no classes to count."""
    return row.label if isinstance(row, LabelledRow) and row.answer == "label" else None
