import pytest

from metier.advise import prompts
from metier.advise.prompts import Posed, Recipe
from metier.advise.task import Known, taken_apart
from metier.core.types import LabelledRow
from metier.text.render import open_renderer
from metier.text.settings import TextSettings


@pytest.fixture
def renderer(tiny_base):
    return open_renderer(tiny_base, TextSettings())


def known(*pairs: tuple[str, str]) -> Known:
    rows = [LabelledRow(id=str(n), source=f"a:{n}", text=text, label=label) for n, (text, label) in enumerate(pairs)]
    return taken_apart(rows)


def read(posed, renderer) -> str:
    assert isinstance(posed, Posed)
    return renderer.tokenizer.decode(posed.ids, skip_special=False)


def test_a_prompt_holds_what_the_recipe_names_and_the_nearest_example_last(renderer):
    train = known(("one", "1"), ("two", "2"))
    asked = known(("three", "SECRET")).questions[0]
    recipe = Recipe(instruction="Count.", examples=(0, 1), passages=("Four follows.",))
    text = read(prompts.pose(asked, recipe, train, renderer, 4), renderer)
    assert text == (
        "<|begin|><|system|>Count.\n\nPassages that may help:\n\nFour follows.<|stop|>"
        "<|user|>two<|stop|><|assistant|>2<|stop|><|user|>one<|stop|><|assistant|>1<|stop|>"
        "<|user|>three<|stop|><|assistant|>"
    )


def test_what_does_not_fit_goes_farthest_first_and_is_counted(renderer):
    train = known(("near", "n"), ("far" * 60, "f"))
    asked = known(("here", "x")).questions[0]
    posed = prompts.pose(asked, Recipe(examples=(0, 1)), train, renderer, 100)
    assert "near" in read(posed, renderer)
    assert "far" not in read(posed, renderer)
    assert posed.cut == 1
    long = known(("w" * 300, "x")).questions[0]
    assert "exceed" in prompts.pose(long, Recipe(examples=(0,)), train, renderer, 4)
    pages = Recipe(passages=("p" * 20, "q" * 300))
    assert "pppp" in read(prompts.pose(asked, pages, train, renderer, 4), renderer)


def test_instructions_are_made_from_training_rows_and_the_users_come_first():
    train = known(("a", "red"), ("b", "green"))
    found = prompts.instructions("label", train, ["Mine."])
    assert found[0] == "Mine."
    assert all("green" in text and "red" in text for text in found[1:])
    objects = known(("a", '{"x": 1, "y": "u"}'), ("b", '{"x": 2, "y": "v"}'))
    assert "x: one of 1, 2" in prompts.instructions("json", objects, [])[1]
    for kind in ("short", "text"):
        assert len(prompts.instructions(kind, train, [])) == 2


def test_fixed_examples_show_every_label_while_there_is_room():
    train = known(*[(str(n), "a" if n < 8 else "b") for n in range(10)])
    assert {train.answers[place] for place in prompts.fixed_examples("label", train, 2)} == {"a", "b"}
    assert prompts.fixed_examples("text", train, 2) == (0, 5)
