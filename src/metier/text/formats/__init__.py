"""Which format a file of records is in, and the rows that its records hold."""

from metier.text.formats.names import FORMATS, SHARED_ROLES, ColumnRole, FormatName, Recognised
from metier.text.formats.recognise import recognise
from metier.text.formats.rows import to_row, to_rows

__all__ = ["FORMATS", "SHARED_ROLES", "ColumnRole", "FormatName", "Recognised", "recognise", "to_row", "to_rows"]
