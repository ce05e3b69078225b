"""Reads records out of workbooks (.xlsx, .xls, .xlsb, .ods): values, not formulas; one sheet at a time."""

from collections.abc import Callable, Iterator
from typing import Any

from metier.core import extras
from metier.core.errors import DataError
from metier.core.table import nearest
from metier.prepare.reading.column_store import plain
from metier.prepare.reading.delimited import header_of, row_of
from metier.prepare.reading.part import Part
from metier.prepare.reading.record import Record
from metier.prepare.reading.stream import small_copy

_MOST = 1 << 29


def workbook(part: Part, report: Callable[[int], None], *, header: bool, piece: str | None) -> Iterator[Record]:
    """Yield the rows of a sheet, numbered as the program that made it numbers them.

    Args:
        part: the workbook.
        report: called with the number of bytes read.
        header: whether the first row names the columns.
        piece: the name of the sheet; None: the only one with rows.

    Raises:
        MissingExtraError: the extra 'files' is not installed.
        DataError: it is damaged, there is no such sheet, or several hold rows and none is named.
    """
    library = extras.load("python_calamine", "files")
    source = small_copy(part, report, most=_MOST)
    try:
        book = library.load_workbook(source)
        rows = _sheet(part.name, book, piece)
    except (library.CalamineError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{part.name}: damaged workbook ({error})", "a whole file", "save it again as .xlsx") from error
    names: list[str] = []
    for number, cells in enumerate(rows, 1):
        values = [_value(cell) for cell in cells]
        if all(value == "" for value in values):
            continue
        if not names:
            names = header_of(part.name, [str(value) for value in values] if header else [""] * len(values))
            if header:
                continue
        yield row_of(number, names, values)


def _sheet(name: str, book: Any, piece: str | None) -> list[list[Any]]:
    sheets = list(book.sheet_names)
    if piece is not None:
        if piece not in sheets:
            close = nearest(piece, sheets)
            do = f"did you mean '{close}'?" if close else ""
            raise DataError(f"{name}: no sheet {piece!r}", f"one of {', '.join(sheets)}", do)
        return book.get_sheet_by_name(piece).to_python(skip_empty_area=False)
    filled = {
        sheet: rows for sheet in sheets if (rows := book.get_sheet_by_name(sheet).to_python(skip_empty_area=False))
    }
    if len(filled) > 1:
        raise DataError(
            f"{name}: {len(filled)} sheets with rows: {', '.join(filled)}", "one",
            f"say which: data.train: {name}#{next(iter(filled))}",
        )  # fmt: skip
    return next(iter(filled.values()), [])


def _value(cell: Any) -> Any:
    """Return a cell's value; whole numbers, which workbooks keep as 3.0, without their point."""
    value = plain(cell)
    return int(value) if isinstance(value, float) and value.is_integer() else "" if value is None else value
