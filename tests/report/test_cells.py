import math

import pytest

from metier.core.report import Table
from metier.report.cells import cell, duration, is_number, live, number, number_columns, size, visible


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (False, "no"),
        (1234567, "1,234,567"),
        (0.0, "0"),
        (0.43239, "0.4324"),
        (12.3456, "12.35"),
        (999.5, "999.5"),
        (2310.4, "2,310"),
        (3.0, "3"),
        (-0.25, "-0.25"),
        (2.64, "2.64"),
        (0.001, "0.001"),
        (2e-5, "2.00e-05"),
        (3.2e9, "3.20e+09"),
        (math.nan, "not a number"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        ("as it is", "as it is"),
    ],
)
def test_a_cell_is_written_for_a_reader(value, text):
    assert cell(value) == text


def test_number_columns_are_those_that_hold_numbers_or_texts_that_start_like_one():
    table = Table(title="", columns=("a", "b", "c", "d"), rows=(("x", 1, "+0.3", None), ("y", None, "−2 %", None)))
    assert number_columns(table) == [False, True, True, True]
    assert not is_number(True)


@pytest.mark.parametrize(("count", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5e9, "4.7 GiB")])
def test_sizes(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0.4 s"), (12, "12 s"), (59.4, "59 s"), (185, "3:05"), (7385, "2:03:05")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_live_figures_carry_their_units():
    facts = {"loss": 0.8123, "tokens/s": 2310.4, "GB": 1.234, "memory_bytes": 1.3e9, "learning_rate": 2e-4}
    assert live(facts) == "loss 0.8123 · 2,310 tokens/s · 1.23 GB · 1.2 GiB · learning 2.0e-04"


def test_control_characters_are_shown_not_obeyed():
    assert visible("a\x1b[31mb\x00\x9b\u202ec\nd\te") == "a␛[31mb␀��c\nd\te"
    assert visible("lone \ud800 surrogate") == "lone ? surrogate"


def test_a_small_number_keeps_four_digits():
    assert number(0.00012) == "0.0001"
