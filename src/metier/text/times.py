"""Times as people write them, as seconds since 1970 UTC."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_MOST_SECONDS = 1e11
"""A larger number (later than the year 5138) is taken for milli-, micro- or nanoseconds."""

_DATES = ("%d.%m.%Y", "%Y/%m/%d", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", ", %H:%M", ", %H:%M:%S", " %I:%M %p", ", %I:%M %p")
_FORMATS: Sequence[str] = tuple(date + clock for date in _DATES for clock in _CLOCKS)


def seconds(value: Any) -> float | None:
    """Read a number of seconds (or thousandths of them) or a date; None: it is no time.

    ISO 8601, `1.2.2024 13:45`, `2024/02/01`, `1 Feb 2024`, `February 1, 2024` and the dates of mails are read.
    `1/2/2024` is not: it is another day in another country. Without a zone a date is taken as UTC, so that the same
    file is split in the same way everywhere.
    """
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return _of_date(" ".join(value.split())) if isinstance(value, str) else None
    sizes = (number / unit for unit in (1, 1e3, 1e6, 1e9) if math.isfinite(number))
    return next((size for size in sizes if abs(size) < _MOST_SECONDS), None)


def _of_date(text: str) -> float | None:
    try:
        return _stamp(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        pass
    for form in _FORMATS if text[:40] == text else ():
        try:
            return _stamp(datetime.strptime(text, form))
        except (ValueError, OverflowError):
            continue
    try:
        return _stamp(parsedate_to_datetime(text)) if "," in text[:5] or ":" in text else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _stamp(when: datetime) -> float:
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
