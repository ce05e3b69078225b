"""Times in the usual forms mean the same second; what is ambiguous is no time."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.text.times import seconds

NOON = datetime(2024, 2, 1, 12, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-01T12:30:00Z", "2024-02-01 12:30", "2024-02-01T13:30:00+01:00", "1.2.2024 12:30", "01.02.2024, 12:30",
        "2024/02/01 12:30:00", "1 Feb 2024 12:30", "February 1, 2024 12:30", "Feb 1, 2024, 12:30 PM",
        "Thu, 01 Feb 2024 12:30:00 +0000", str(NOON), NOON, NOON * 1000,
    ],
)  # fmt: skip
def test_the_same_second_in_many_forms(text):
    assert seconds(text) == NOON


@pytest.mark.parametrize("value", ["1/2/2024", "soon", "", "nan", float("inf"), True, None, [], "32.1.2024"])
def test_what_is_no_time(value):
    assert seconds(value) is None


@given(st.text(max_size=40) | st.floats() | st.none())
def test_nothing_breaks_it(value):
    found = seconds(value)
    assert found is None or abs(found) < 1e12


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))
def test_iso_dates_come_back(when):
    assert seconds(when.isoformat()) == when.replace(tzinfo=UTC).timestamp()
