"""How values are written in every face: numbers, sizes, times, and texts that may hold control characters."""

import math
from collections.abc import Mapping

from metier.core.report import Cell, Table

_SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB")
_OBEYED = (0x09, 0x0A)
_C0 = {code: chr(0x2400 + code) for code in range(0x20) if code not in _OBEYED}
_REORDERING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SHOWN = _C0 | {0x7F: "␡"} | dict.fromkeys((*range(0x80, 0xA0), *_REORDERING), "�")


def cell(value: Cell) -> str:
    """Write one value of a table or a fact: whole numbers by thousands, others with at most four significant digits."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        text = number(value)
        return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
    return visible(value)


def is_number(value: Cell) -> bool:
    """Tell whether a cell is set flush right: a number, or a text that starts like one."""
    if isinstance(value, str):
        return value.lstrip("+-−±≤≥<>≈~ ")[:1].isdigit()
    return value is not None and not isinstance(value, bool)


def number_columns(table: Table) -> list[bool]:
    """Tell for each column of a table whether it holds numbers and is set flush right."""
    return [_holds_numbers([row[place] for row in table.rows]) for place in range(len(table.columns))]


def _holds_numbers(values: list[Cell]) -> bool:
    present = [value for value in values if value is not None]
    return bool(values) and all(is_number(value) for value in present)


def number(value: float) -> str:
    """Write a number with four significant digits, without an exponent where that stays readable."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size and not 1e-4 <= size < 1e7:
        return f"{value:.2e}"
    if size >= 1000 or value.is_integer():
        return f"{value:,.0f}"
    decimals = 4 if size < 1 else max(0, 3 - math.floor(math.log10(size)))
    return f"{value:.{decimals}f}"


def size(count: float) -> str:
    """Write a number of bytes in the unit that fits."""
    unit = 0
    while count >= 1024 and unit < len(_SIZES) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} {_SIZES[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {_SIZES[unit]}"


def duration(seconds: float) -> str:
    """Write a time as `0.4 s`, `12 s`, `3:05` (minutes) or `2:03:05` (hours)."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def live(facts: Mapping[str, float]) -> str:
    """Write the live figures of a long job in one line: `loss 0.812 · 2,310 tokens/s · 1.2 GiB`."""
    return " · ".join(_live(name, value) for name, value in facts.items())


def _live(name: str, value: float) -> str:
    words = name.replace("_", " ")
    if name.endswith("_bytes"):
        return size(value)
    if "/" in name or name.isupper():
        return f"{value:,.0f} {name}" if value >= 100 else f"{value:.3g} {name}"
    if name.endswith("_rate"):
        return f"{words.removesuffix(' rate')} {value:.1e}"
    return f"{words} {number(value)}"


def visible(text: str) -> str:
    """Show control characters instead of obeying them: a model's words must not drive a terminal or reorder a page."""
    return text.translate(_SHOWN).encode("utf-8", "replace").decode("utf-8")
