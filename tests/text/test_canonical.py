"""A row in canonical form comes back as the same row, with the bytes of its tools."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.core.errors import DataError
from metier.core.types import ChatRow, JudgedRow, LabelledRow, Message, PreferenceRow, TaskRow, TextRow
from metier.text.builders import identity
from metier.text.rows import line_of, row_of

SAID = st.text(min_size=1, max_size=30).filter(lambda text: text.strip() and text.isprintable())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
TOOLS = st.lists(st.dictionaries(st.text(min_size=1, max_size=4), JSON, min_size=1, max_size=3), max_size=2).map(tuple)
ASKED = SAID.map(lambda text: Message(role="user", content=text))
ANSWERED = st.builds(
    Message,
    role=st.just("assistant"),
    content=SAID,
    tool_calls=TOOLS,
    name=st.none() | SAID,
    weight=st.none() | st.sampled_from([0.5, 1.0, 2.0]),
)
TURNS = st.lists(st.tuples(ASKED, ANSWERED), min_size=1, max_size=3).map(lambda pairs: sum(pairs, ()))
CARRIED = {
    "id": st.just("0" * 24),
    "source": st.just("t.jsonl:1"),
    "group": st.none() | st.just("g"),
    "slice": st.none() | st.just("s"),
    "weight": st.sampled_from([1.0, 0.25, 3.0]),
    "time": st.none() | st.sampled_from([0.0, 1.5e9]),
    "synthetic": st.booleans(),
    "difficulty": st.none() | st.sampled_from([0.0, 3.5]),
}
ROWS = st.one_of(
    st.builds(TextRow, text=SAID, **CARRIED),
    st.builds(LabelledRow, text=SAID, label=SAID.map(lambda text: "l" + text.strip()), **CARRIED),
    st.builds(LabelledRow, text=SAID, label=st.sampled_from(['["a","b"]', "[]"]), answer=st.just("labels"), **CARRIED),
    st.builds(LabelledRow, text=SAID, label=st.sampled_from(["1", "-2.5", "0.1"]), answer=st.just("score"), **CARRIED),
    st.builds(ChatRow, messages=TURNS, tools=TOOLS, parallel_tool_calls=st.none() | st.booleans(), **CARRIED),
    st.builds(
        lambda asked, answer, good, carried: JudgedRow(prompt=(asked,), completion=(answer,), good=good, **carried),
        ASKED,
        ANSWERED,
        st.booleans(),
        st.fixed_dictionaries(CARRIED),
    ),
    st.builds(
        lambda asked, checker, tools, carried: TaskRow(prompt=(asked,), checker=checker, tools=tools, **carried),
        ASKED,
        st.dictionaries(st.text(min_size=1, max_size=4), JSON, min_size=1, max_size=3),
        TOOLS,
        st.fixed_dictionaries(CARRIED),
    ),
    st.builds(
        lambda asked, answers, tools, carried: PreferenceRow(
            prompt=(asked,), chosen=(answers[0],), rejected=(answers[1],), tools=tools, **carried
        ),
        ASKED,
        st.tuples(ANSWERED, ANSWERED).filter(lambda pair: pair[0] != pair[1]),
        TOOLS,
        st.fixed_dictionaries(CARRIED),
    ),
)


@given(ROWS)
def test_a_row_comes_back_as_it_was(row):
    read = row_of(json.loads(line_of(row)), {}, "here")
    assert read == row
    assert identity(replace(read, id="")) == identity(row)
    assert json.dumps([turn.tool_calls for turn in getattr(read, "messages", ())]) == json.dumps(
        [turn.tool_calls for turn in getattr(row, "messages", ())]
    )


def test_a_form_that_is_not_known_is_refused():
    with pytest.raises(DataError, match=r"a row in the form 'riddle'"):
        row_of({"id": "0", "source": "t:1", "as": "riddle"}, {}, "here")
