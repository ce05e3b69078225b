"""Changed copies of training rows: marked, with right answers, never of held-out rows."""

import json

import numpy as np
import pytest

from metier.core import extras
from metier.core.errors import InputError, MissingExtraError, SettingsError
from metier.core.settings import build
from metier.core.types import ChatRow, Message
from metier.prepare.augment.run import augment, report
from metier.prepare.augment.settings import AugmentSettings
from metier.prepare.augment.swap import SWAPPED, pools, swapped
from metier.prepare.protect.detect import detector
from metier.score import structured
from tests.prepare.workshop import rows

PEOPLE = ("Maria Lopez", "Johannes Becker", "Anna Schmidt", "Peter Miller", "Laura Carvalho", "Quentin Baker")
FIND = detector(SWAPPED)


def extraction(count=60, first=0):
    found = []
    for place in range(first, first + count):
        name = PEOPLE[place % len(PEOPLE)]
        mail = f"{name.split()[0].lower()}@corp{place}.com"
        asked = f"Read it. Order {place} is for {name}, {mail}. Ask {name.split()[1]} again."
        found.append({"prompt": asked, "completion": json.dumps({"order": place, "name": name, "mail": mail})})
    return found


def made(workshop, records, **settings):
    snapshot = workshop.prepare(workshop.lines("rows.jsonl", records)).path
    chosen = AugmentSettings.model_validate(settings)
    result = augment(snapshot, chosen, folder=workshop.folder, seed=0, columns={}, progress=workshop.heard)
    return result, [json.loads(line) for line in result.output.read_text(encoding="utf-8").splitlines()]


def test_a_swap_is_the_same_in_question_and_answer(workshop):
    result, records = made(workshop, extraction(), ways=["swap"])
    assert len(records) > 30
    for record, copy in zip(records, result.copies, strict=True):
        asked, answer = record["messages"][0]["content"], json.loads(record["messages"][1]["content"])
        before = json.loads(copy.origin.messages[1].content)
        assert f"for {answer['name']}, {answer['mail']}." in asked
        assert f"Ask {answer['name'].split()[1]} again" in asked
        assert answer["order"] == before["order"]
        assert answer["name"] != before["name"]
        assert before["mail"] not in asked


@pytest.mark.parametrize("way", ["typos", "casing", "reorder", "swap"])
def test_answers_keep_their_form_and_rows_are_marked(workshop, way):
    _, records = made(workshop, extraction(), ways=[way], copies=2)
    assert records or way == "reorder"
    for record in records:
        answer = structured.parse(record["messages"][-1]["content"])
        assert answer is not None
        assert answer.keys() == {"order", "name", "mail"}
        assert record["synthetic"] is True
        assert record["method"] == way
        assert record["origin"][0].startswith("rows.jsonl:")
        if way in ("typos", "casing"):
            assert answer["name"] in record["messages"][0]["content"]


def test_labels_stay_and_copies_are_different(workshop):
    records = [
        {
            "text": f"Where is my parcel number {place} from Ulm? I want it soon. Who can help me?",
            "label": "ab"[place % 2],
        }
        for place in range(40)
    ]
    result, lines = made(workshop, records, ways=["typos", "casing", "reorder"], copies=3)
    assert {record["label"] for record in lines} == {"a", "b"}
    texts = [record["text"] for record in lines]
    assert len(set(texts)) == len(texts)
    assert not set(texts) & {record["text"] for record in records}
    assert {copy.way for copy in result.copies} == {"typos", "casing", "reorder"}
    assert "rows made of" in report(result, AugmentSettings()).verdict.text


def test_held_out_rows_are_never_copied_and_copies_never_held_out(workshop):
    result, _ = made(workshop, extraction(), ways=["typos"], rows=25)
    assert len(result.copies) == 25
    first = rows(workshop.prepare("rows.jsonl"))
    held = {row.source for split in ("validation", "test") for row in first[split]}
    assert not held & {copy.origin.source for copy in result.copies}
    both = rows(workshop.prepare({"train": ["rows.jsonl", "data/augmented.jsonl"]}))
    assert not [row for split in ("validation", "test") for row in both[split] if row.synthetic]
    assert any(row.synthetic for row in both["train"])


def test_the_same_seed_makes_the_same_file_and_more_typos_another(workshop):
    asked = "Please tell somebody about these seven things before Friday evening"
    records = [{"text": f"{asked} {place}", "label": "a"} for place in range(30)]
    shares = (0.08, 0.08, 0.5)
    first, second, third = (made(workshop, records, ways=["typos"], typo_share=share)[1] for share in shares)
    assert first == second
    assert first != third


def chat(*texts, **values):
    turns = tuple(Message(role=("user", "assistant")[place % 2], content=text) for place, text in enumerate(texts))
    return ChatRow(id="1", source="a:1", messages=turns, **values)


def test_a_swap_goes_into_tool_calls_and_keeps_the_case_of_names():
    call = {"id": "1", "function": {"name": "f", "arguments": '{"name": "Maria Lopez"}'}}
    row = chat("I am Maria Lopez. MARIA LOPEZ is me", "")
    row = ChatRow(id="1", source="a:1", messages=(row.messages[0], Message(role="assistant", tool_calls=(call,))))
    fresh = swapped(row, FIND, {"person": ["Peter Miller"]}, np.random.default_rng(0))
    assert fresh.messages[0].content == "I am Peter Miller. PETER MILLER is me"
    assert fresh.messages[1].tool_calls[0]["function"]["arguments"] == '{"name": "Peter Miller"}'


@pytest.mark.parametrize(
    "row",
    [
        chat("Call +49 170 1234567", '{"phone": "+491701234567"}'),
        chat("I am Maria Lopez (user marialopez9)", "Hello Maria Lopez"),
        chat("Nothing here", "at all"),
    ],
)
def test_a_row_in_which_a_swap_cannot_be_sure_stays(row):
    """Planted: one number written in two ways, and a name inside another word."""
    known = {"phone": ["+49 30 7654321"], "person": ["Peter Miller"]}
    fresh = swapped(row, FIND, known, np.random.default_rng(0))
    assert fresh is row or fresh == row or "marialopez9" in fresh.messages[0].content


def test_pools_hold_what_rows_hold():
    assert pools([chat("I am Maria Lopez, maria@corp.com", "ok")], FIND) == {
        "person": ["Maria Lopez"], "email": ["maria@corp.com"],
    }  # fmt: skip


def test_bad_settings_and_missing_parts_are_said(workshop, monkeypatch):
    with pytest.raises(SettingsError, match="at least one"):
        build(AugmentSettings, {"ways": []}, "x")
    with pytest.raises(SettingsError, match="jsonl"):
        build(AugmentSettings, {"output": "x.csv"}, "x")
    files = {
        "train": workshop.lines("made.jsonl", [record | {"synthetic": True} for record in extraction(20)]),
        "test": workshop.lines("test.jsonl", extraction(5, first=100)),
        "validation": workshop.lines("v.jsonl", extraction(5, first=200)),
    }
    snapshot = workshop.prepare(files)
    assert snapshot.counts["train"] == 20
    with pytest.raises(InputError, match="no training rows"):
        augment(snapshot.path, AugmentSettings(), folder=workshop.folder, seed=0, columns={}, progress=workshop.heard)
    monkeypatch.setitem(extras.EXTRAS, "protect", ("no_such_library",))
    with pytest.raises(MissingExtraError):
        made(workshop, extraction(), ways=["swap"])
