"""What a student does not see, and that it learns at the same tokens as its teacher."""

from dataclasses import replace

import numpy as np
import pytest

from metier.core.errors import DataError
from metier.core.progress import Silent
from metier.text import context
from metier.text.rendered import render_rows
from tests.text import bases

TURNS = (
    ("system", "the card is lost"),
    ("user", "hello"),
    ("assistant", "you"),
    ("user", "where is it"),
    ("assistant", "here"),
)


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    return bases.opened(bases.base(tmp_path_factory.mktemp("base")))


def said(row):
    return [turn.content for turn in row.messages]


@pytest.mark.parametrize(
    ("drop", "kept"),
    [
        ("system", ["hello", "you", "where is it", "here"]),
        ("examples", ["the card is lost", "where is it", "here"]),
        ("all", ["where is it", "here"]),
        (None, [text for _, text in TURNS]),
    ],
)
def test_what_is_dropped(drop, kept, renderer):
    row = bases.chat(*TURNS)
    assert said(context.student_row(row, drop)) == kept
    assert said(context.teacher_row(row, drop)) == said(row)
    if drop is None:
        return
    student = render_rows([context.student_row(row, drop)], renderer, Silent())
    teacher = render_rows([context.teacher_row(row, drop)], renderer, Silent())
    paired = context.pair(student, teacher)
    first, second = paired.sequence(0), paired.sequence(0).partner
    labels = [np.flatnonzero(sequence.weights) for sequence in (first, second)]
    assert first.ids[labels[0]].tolist() == second.ids[labels[1]].tolist()
    figures = context.saved(paired).as_dict()
    assert figures["tokens_saved"] == figures["tokens_saved_per_request"] == len(second) - len(first) > 0


def test_a_system_turn_from_the_settings_is_the_teachers_alone(tmp_path):
    renderer = bases.opened(bases.base(tmp_path / "base"), system="thank you very much")
    rows = [bases.labelled("the card", "lost")]
    spared = context.student_renderer(renderer, "system")
    paired = context.pair(render_rows(rows, spared, Silent()), render_rows(rows, renderer, Silent()))
    context.require_saving(paired)
    assert context.student_renderer(renderer, "examples") is renderer


def test_nothing_to_drop_is_refused(renderer):
    same = render_rows([bases.labelled("the card", "lost")], renderer, Silent())
    with pytest.raises(DataError, match=r"the same with and without the dropped part; wanted: rows with a system turn"):
        context.require_saving(context.pair(same, same))


def test_another_answer_is_refused(renderer):
    first = render_rows([bases.labelled("the card", "lost")], renderer, Silent())
    other = render_rows([bases.labelled("the card", "list")], renderer, Silent())
    with pytest.raises(DataError, match="the answer has other tokens"):
        context.pair(first, other)


def test_rows_that_one_side_lacks_are_left_out(renderer):
    both = render_rows([bases.labelled("the card", "lost", n) for n in range(3)], renderer, Silent())
    one = render_rows([bases.labelled("the card", "lost", 1)], renderer, Silent())
    assert context.pair(both, one).row_ids == ("l1",)
    twice = replace(one, row_ids=("l0",))
    assert context.pair(both, twice).row_ids == ("l0",)


def test_what_a_run_dropped_is_read_from_its_plan():
    assert context.dropped({"train": {"objective": {"name": "distil", "drop": "all"}}}) == "all"
    assert context.dropped({"train": {"objective": {"name": "chat", "drop": "system"}}}) is None
    assert context.dropped({}) is None
