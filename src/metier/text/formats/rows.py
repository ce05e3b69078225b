"""How a record of a known format becomes a row, or several, or the reason why it becomes none."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from metier.core.types import ChatRow, Dropped, JudgedRow, Message, PreferenceRow, Row, TaskRow
from metier.text.builders import BUILDERS, carried, identity, label_or_none
from metier.text.formats.foreign.registry import FOREIGN
from metier.text.formats.names import SHARED_ROLES, Recognised
from metier.text.messages import UnusableRow, require_order


def to_row(
    record: Mapping[str, Any], recognised: Recognised, *, source: str, row_id: str | None = None
) -> Row | Dropped:
    """Turn one record into a row, or say why it cannot be learnt from.

    Args:
        record: as read from the file; nothing in it is changed.
        recognised: the format of its file, one of our own.
        source: `file:line`.
        row_id: the id, when it was given before (a row of a snapshot). None: the content hash.
    """
    values = {role: record.get(name) for role, name in recognised.columns.items()}
    if recognised.format == "task" and "checker" not in values:
        own = {recognised.columns.get(role) for role in ("prompt", "tools")}
        values["checker"] = {name: value for name, value in record.items() if name not in own}
    try:
        common = {"id": row_id or "", "source": source, **carried(values)}
        row = BUILDERS[recognised.format](values, recognised.columns, common)
        if row_id:
            return row
        for turns in _conversations(row):
            require_order(turns)
        return replace(row, id=identity(row))
    except UnusableRow as error:
        return Dropped(source=source, reason=error.reason, detail=error.detail, label=label_or_none(values))


def _conversations(row: Row) -> Iterator[tuple[Message, ...]]:
    """Yield the conversations that a row holds."""
    if isinstance(row, ChatRow):
        yield row.messages
    elif isinstance(row, PreferenceRow):
        yield (*row.prompt, *row.chosen)
        yield (*row.prompt, *row.rejected)
    elif isinstance(row, JudgedRow):
        yield (*row.prompt, *row.completion)
    elif isinstance(row, TaskRow):
        yield row.prompt


def to_rows(record: Mapping[str, Any], recognised: Recognised, *, source: str) -> Iterator[Row | Dropped]:
    """Turn one record into the rows that are in it: one, unless another program wrote several into one record.

    The second row out of `file:12` has the source `file:12.2`.
    """
    foreign = FOREIGN.get(recognised.format)
    if foreign is None:
        yield to_row(record, recognised, source=source)
        return
    shared = {
        role: record[name] for role, name in recognised.columns.items() if role in SHARED_ROLES and name in record
    }
    number = 0
    try:
        if not foreign.fits(record, recognised.columns):
            raise UnusableRow("not in the form of the other rows", foreign.says)
        for number, plain in enumerate(foreign.translate(record, recognised.columns), 1):
            values = plain.record | shared
            found = Recognised(format=plain.format, columns={name: name for name in values})
            yield to_row(values, found, source=source if number == 1 else f"{source}.{number}")
    except UnusableRow as error:
        where = source if number == 0 else f"{source}.{number + 1}"
        yield Dropped(source=where, reason=error.reason, detail=error.detail)
