from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.core.errors import DataError, InputError
from metier.core.types import ChatRow, LabelledRow, Message, TextRow
from metier.evaluate.opponents.prompted import Prompting, read

FULL = "system: Name the colour.\nexamples:\n- {user: a rose, assistant: red}\n- {user: the sky, assistant: blue}\n"


def test_a_prompt_is_a_text_or_a_system_turn_with_examples(tmp_path):
    (tmp_path / "p.txt").write_text(" Name the colour.\n")
    (tmp_path / "p.yaml").write_text(FULL)
    assert read(tmp_path / "p.txt") == Prompting(system="Name the colour.")
    found = read(tmp_path / "p.yaml")
    assert found.examples == (("a rose", "red"), ("the sky", "blue"))
    assert found.digest != read(tmp_path / "p.txt").digest


@pytest.mark.parametrize(
    "text", ["", "sistem: x", "- a", "system: [1]", "examples: [{user: a}]", "examples: [{user: a, assistant: 1}]", "{"]
)
def test_another_form_is_refused(tmp_path, text):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(DataError):
        read(tmp_path / "p.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.txt"):
        read(tmp_path / "gone.txt")


def test_what_stands_in_front_of_a_row():
    prompting = Prompting(system="Be brief.", examples=(("q", "a"),))
    turns = (Message(role="system", content="Own."), Message(role="user", content="x"),
             Message(role="assistant", content="y"))  # fmt: skip
    row = prompting.before(ChatRow(id="r", source="f:1", messages=turns))
    assert isinstance(row, ChatRow)
    assert [(m.role, m.content) for m in row.messages] == [
        ("system", "Own.\n\nBe brief."), ("user", "q"), ("assistant", "a"), ("user", "x"), ("assistant", "y"),
    ]  # fmt: skip
    assert row.messages[2].weight == 0, "an example is no answer to be measured"
    labelled = prompting.before(LabelledRow(id="r", source="f:1", text="x", label="y", group="g"))
    assert isinstance(labelled, ChatRow)
    assert (labelled.messages[-1].content, labelled.group) == ("y", "g")
    plain = TextRow(id="t", source="f:2", text="prose")
    assert prompting.before(plain) is plain


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("p") / "p.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with suppress(DataError, InputError):
        assert read(path).digest
