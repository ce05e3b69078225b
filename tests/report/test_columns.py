import io

import pytest
from rich.console import Console

from metier.core.report import Table
from metier.report.columns import show_table
from tests.report import samples


def shown(table: Table, width: int) -> str:
    stream = io.StringIO()
    show_table(table, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


WIDE = Table(
    title="t",
    columns=("metric", "base", "tuned", "difference", "verdict", "what it is"),
    rows=(
        (
            "accuracy",
            "0.0 % (0.0 to 6.6)",
            "66.7 % (53.4 to 77.8)",
            "+66.7 points (+53.4 to +77.8)",
            "better",
            "how often the answer is the one that stands in the data",
        ),
    ),
)


@pytest.mark.parametrize("table", [WIDE, *samples.evaluation().tables])
@pytest.mark.parametrize("width", range(74, 180, 9))
def test_no_word_of_a_header_is_broken_and_nothing_is_wider_than_the_window(table, width):
    lines = shown(table, width).splitlines()
    assert max(map(len, lines)) <= width
    head = " ".join(lines[1 : next(n for n, line in enumerate(lines) if "──" in line)]).split()
    assert {"metric", "base", "tuned", "difference", "verdict"} <= set(head)


def test_sentences_are_left_out_first_then_intervals_go_below():
    assert "stands in the data" in shown(WIDE, 200)
    narrower = shown(WIDE, 110)
    assert "stands in the data" not in narrower
    assert "66.7 % (53.4 to 77.8)" in narrower
    narrow = shown(WIDE, 80).splitlines()
    assert any("66.7 %" in line and "(" not in line for line in narrow)
    assert any("(53.4 to 77.8)" in line and "%" not in line for line in narrow)


def test_many_columns_stand_closer_before_a_word_breaks():
    head = ["way", "micro-batch", "weights", "gradients", "optimiser", "activations", "program", "all", "fits", "epoch"]
    sizes = ("2,048", "7.2 MiB", "1.3 MiB", "2.6 MiB", "77.6 MiB", "601 MiB", "689 MiB", "yes", "27 s")
    way = ("QLoRA (nf4), checkpointing", *sizes)
    lines = shown(Table(title="t", columns=tuple(head), rows=(way,)), 100).splitlines()
    assert max(map(len, lines)) <= 100
    words = set(" ".join(lines).split())
    assert {"micro-", "batch", "gradients", "optimiser", "activations", "program", "checkpointing"} <= words


def test_one_column_and_no_rows_are_shown_too():
    assert "name" in shown(Table(title="t", columns=("name",), rows=()), 10)
    assert "x" * 10 in shown(Table(title="t", columns=("name",), rows=(("x" * 90,),)), 20)


def test_markup_and_control_characters_stay_text():
    text = shown(Table(title="[red]t", columns=("[bold]a",), rows=(("[link=x]b\x1b",),), note="[i]n"), 60)
    assert all(part in text for part in ("[red]t", "[bold]a", "[link=x]b␛", "[i]n"))
