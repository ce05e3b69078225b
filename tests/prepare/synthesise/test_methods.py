"""Every method makes rows of the right kind, marked, from training rows alone."""

import json

import pytest

from metier.core.errors import DataError, InputError, SettingsError
from metier.prepare.synthesise.prompt import read_object
from metier.prepare.synthesise.recipes import RECIPES
from tests.prepare.synthesise.kitchen import chats, labelled
from tests.prepare.workshop import raw, rows

LABELS = {"delivery", "billing", "account"}


@pytest.mark.parametrize(
    "method", ["paraphrase", "persona", "back-translate", "self-instruct", "evolve", "hard-negatives"]
)
def test_labelled_rows_stay_labelled_and_are_marked(pantry, method):
    records = labelled()
    result = pantry.make(records if method != "evolve" else chats(), method=method, closest=1.0)
    made = pantry.written(result)
    assert len(made) == len(result.kept) >= 8
    for record in made:
        assert record["synthetic"] is True
        assert record["method"] == method
        assert record["model"] == "default"
        assert len(record["prompt_hash"]) == 12
        assert all(source.startswith("rows.jsonl:") for source in record["origin"])
        assert record["label"] in LABELS if method != "evolve" else record["messages"][-1]["content"]


def test_a_wrong_answer_stands_beside_the_right_one(pantry):
    made = pantry.written(pantry.make(chats(), method="hard-negatives"))
    assert made
    for record in made:
        assert record["chosen"][0]["content"].startswith("Send the")
        assert record["rejected"][0]["content"].startswith("The reply to it")


def test_the_best_and_the_worst_of_several_answers_become_a_preference(pantry):
    result = pantry.make(chats(), method="preference", samples=3)
    for record in pantry.written(result):
        assert len(record["chosen"][0]["content"]) > len(record["rejected"][0]["content"])
    assert result.kept


def test_a_judge_that_prefers_a_place_is_not_believed(pantry):
    obliging = pantry.endpoint.say
    pantry.endpoint.say = lambda body: (
        '{"best": 1, "worst": 2}' if '"best"' in body["messages"][0]["content"] else obliging(body)
    )
    result = pantry.make(chats(), method="preference")
    assert result.kept == []
    assert result.reasons["the judge says something else when the order changes"] > 0


def test_documents_become_questions_with_the_line_they_stand_on(pantry):
    text = "\n\n".join(f"Paragraph {place}. " + "The valve opens at noon. " * 60 for place in range(4))
    pantry.workshop.write("guide.md", text)
    made = pantry.written(pantry.make(method="questions", documents=["guide.md"], rows=4, closest=1.0))
    assert made
    assert all(record["origin"][0].startswith("guide.md:") for record in made)
    assert {record["messages"][0]["role"] for record in made} == {"user"}
    assert any("The valve opens" in prompt for prompt in pantry.endpoint.prompts)
    with pytest.raises(DataError, match=r"absent\.md"):
        pantry.make(method="questions", documents=["absent.md"])
    with pytest.raises(InputError, match="no documents"):
        pantry.make(method="questions")


def test_nothing_of_the_held_out_rows_is_sent(pantry):
    pantry.make(labelled(), rows=100, closest=1.0)
    snapshot = pantry.workshop.prepare("rows.jsonl")
    held = [row.text for split in ("validation", "test") for row in rows(snapshot)[split]]
    assert held
    assert not [text for text in held for prompt in pantry.endpoint.prompts if text in prompt]


def test_made_rows_are_read_again_and_only_trained_on(pantry):
    result = pantry.make(labelled(), rows=40, closest=1.0)
    assert len(result.kept) > 20
    both = pantry.workshop.prepare({"train": ["rows.jsonl", "data/synthetic.jsonl"]})
    found = rows(both)
    assert sum(row.synthetic for row in found["train"]) == len(result.kept)
    assert not [row for split in ("validation", "test") for row in found[split] if row.synthetic]
    assert raw(both, "train")
    again = pantry.make(labelled(), rows=5)
    assert again.asked == 5


def test_a_prompt_of_ones_own_is_used_and_changes_the_hash(pantry):
    before = pantry.written(pantry.make(rows=2, closest=1.0))[0]["prompt_hash"]
    pantry.workshop.write("mine/paraphrase.jinja", 'Below: <message>\n{{ input }}\n</message> as {"input": …}')
    made = pantry.written(pantry.make(rows=2, closest=1.0, prompts="mine"))
    assert made[0]["prompt_hash"] != before
    assert pantry.endpoint.prompts[-1].startswith("Below: <message>")
    pantry.workshop.write("mine/paraphrase.jinja", "{{ nothing_like_this }}")
    with pytest.raises(SettingsError, match="nothing_like_this"):
        pantry.make(rows=2, prompts="mine")
    with pytest.raises(SettingsError, match="no such folder"):
        pantry.make(rows=2, prompts="absent")


def test_the_language_of_a_back_translation_is_told(pantry):
    pantry.make(method="back-translate", language="Icelandic", rows=3)
    assert sum("into Icelandic" in prompt for prompt in pantry.endpoint.prompts) == 3


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"a": 1}', {"a": 1}), ('```json\n{"a": 1}\n```', {"a": 1}), ('Sure! {"a": "}"} Bye', {"a": "}"}),
        ("no object", None), ("[1]", None), ('{"a": ', None), ("", None),
    ],
)  # fmt: skip
def test_an_object_is_read_out_of_a_reply(text, wanted):
    assert read_object(text) == wanted


def test_every_method_has_a_recipe():
    from typing import get_args

    from metier.prepare.synthesise.settings import Method

    assert set(RECIPES) == set(get_args(Method))
    assert json.dumps(sorted(RECIPES))
