from pathlib import Path

import pytest

from metier.core.errors import DataError
from metier.core.types import ChatRow, LabelledRow, Message, Row, TextRow
from metier.evaluate.questions import choose, gather
from metier.text.render import Renderer, open_renderer
from metier.text.settings import TextSettings

ROWS: list[Row] = [
    LabelledRow(id=f"row{n}", source=f"a.csv:{n}", text=f"text {n}", label="yes", group=f"g{n % 3}", slice="s")
    for n in range(50)
]


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return open_renderer(tiny_base, TextSettings())


def test_the_chosen_rows_depend_on_the_rows_alone() -> None:
    chosen = choose(ROWS, 10)
    assert len(chosen) == 10
    assert choose(list(reversed(ROWS)), 10) == list(reversed(chosen))
    assert [row.id for row in chosen] == sorted((row.id for row in chosen), key=lambda name: int(name[3:]))
    assert choose(ROWS, None) == choose(ROWS, 99) == ROWS


def test_more_rows_chosen_include_the_fewer() -> None:
    assert {row.id for row in choose(ROWS, 10)} < {row.id for row in choose(ROWS, 20)}


def test_a_row_becomes_a_question(renderer: Renderer) -> None:
    material = gather(ROWS[:2], renderer)
    question = material.questions[0]
    assert (question.row_id, question.source, question.reference) == ("row0", "a.csv:0", "yes")
    assert (question.group, question.slice, question.labelled) == ("g0", "s", True)
    assert question.prompt == "<|begin|><|user|>text 0<|stop|><|assistant|>"
    (sequence,) = material.sequences[0]
    assert sequence.ids[: len(material.prompts[0] or [])].tolist() == material.prompts[0]


def test_plain_text_is_measured_but_not_asked(renderer: Renderer) -> None:
    material = gather([TextRow(id="t", source="a.txt:1", text="some words")], renderer)
    assert material.prompts == (None,)
    assert material.questions[0].reference is None
    assert len(material.sequences[0]) == 1


def test_rows_that_can_be_neither_asked_nor_measured_are_named(renderer: Renderer) -> None:
    silent = ChatRow(id="c", source="a.jsonl:9", messages=(Message(role="user", content="hello"),))
    material = gather([ROWS[0], silent], renderer)
    assert len(material.questions) == 1
    assert [row.source for row in material.left_out] == ["a.jsonl:9"]
    with pytest.raises(DataError, match=r"none of 1 held-out rows can be evaluated \(a.jsonl:9: "):
        gather([silent], renderer)


def test_what_a_model_sees_has_a_digest(renderer: Renderer) -> None:
    first, second = gather(ROWS[:3], renderer), gather(ROWS[:4], renderer)
    assert first.digest == gather(ROWS[:3], renderer).digest != second.digest
