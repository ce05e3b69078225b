"""What a reader hands on: one record of a file, or the reason why it is none."""

from typing import Any, NamedTuple


class Record(NamedTuple):
    """One record.

    `line` counts from 1 (for Parquet and Arrow: rows; for documents and mails: lines, pages or messages). `text` is the
    record as one line of JSON, byte for byte as it was written where the file was JSON. `value` is None when the record
    is unusable: then `problem` says why and `detail` where. `file` is the name of its part where several are read as
    one.
    """

    line: int
    text: str
    value: dict[str, Any] | None
    problem: str = ""
    detail: str = ""
    file: str = ""


def unusable(line: int, problem: str, detail: str = "") -> Record:
    """Return what stands for a record that cannot be read."""
    return Record(line, "", None, problem, detail)
