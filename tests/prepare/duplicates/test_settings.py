"""What the settings of de-duplication change, through the one function of the room."""

import random

import pytest

from metier.core.errors import DataError, ModelError, SettingsError
from metier.core.settings import build
from metier.prepare.settings import PrepareSettings
from tests.prepare.duplicates.planted import edited, sentence
from tests.prepare.workshop import dropped, rows, tickets


@pytest.fixture
def twins(workshop):
    """Forty texts, and each again with a few words changed: in odd rows the copy is longer; with times."""
    chosen, records = random.Random(0), []
    for number in range(40):
        text = sentence(chosen, 40)
        copy = edited(text, 0.05, chosen)
        records.append({"text": text if number % 2 else text + " evermore", "time": f"2024-01-{1 + number % 28:02}"})
        records.append({"text": copy + " hereafter" if number % 2 else copy, "time": f"2024-02-{1 + number % 28:02}"})
    return workshop.lines("t.jsonl", records)


def test_together_keeps_twins_in_one_split_and_drops_none(workshop, twins):
    result = workshop.prepare(twins)
    splits = {int(row.source.rpartition(":")[2]): split for split, part in rows(result).items() for row in part}
    assert len(splits) == 80
    assert all(splits[line] == splits[line + 1] for line in range(1, 80, 2))


def test_off_lets_twins_straddle(workshop, twins):
    result = workshop.prepare(twins, dedupe={"near": "off"})
    splits = {int(row.source.rpartition(":")[2]): split for split, part in rows(result).items() for row in part}
    assert any(splits[line] != splits[line + 1] for line in range(1, 80, 2))


@pytest.mark.parametrize(("keep", "odd"), [("first", 40), ("last", 0), ("newest", 0), ("longest", 20)])
def test_drop_keeps_the_best_by_the_stated_rule(workshop, twins, keep, odd):
    result = workshop.prepare(twins, dedupe={"near": "drop", "keep": keep}, columns={"time": "time"})
    lines = [int(row.source.rpartition(":")[2]) for part in rows(result).values() for row in part]
    assert len(lines) == 40
    assert abs(sum(line % 2 for line in lines) - odd) <= 2
    gone = dropped(result)
    assert {item.reason for item in gone} == {"near-duplicate of another row"}
    assert all(item.detail.startswith("like t.jsonl:") for item in gone)


def test_rows_that_are_to_be_kept_are_kept(workshop, twins):
    result = workshop.prepare(twins, dedupe={"near": "drop", "keep": "first"}, keep=["t.jsonl:2"])
    assert sum(result.counts.values()) == 41


def test_copies_made_on_purpose_are_dropped_only_when_asked(workshop):
    chosen = random.Random(1)
    texts = [sentence(chosen, 40) for _ in range(12)]
    records = [{"text": text, "label": "a"} for text in texts]
    made = [{"text": text.upper() + " !!", "label": "a", "synthetic": True} for text in texts]
    data = {"train": workshop.lines("t.jsonl", [*made, *records])}
    plain = workshop.prepare(data, dedupe={"near": "drop"}, validation_share=0, test_share=0)
    assert plain.dropped == {}
    asked = workshop.prepare(data, dedupe={"near": "drop", "synthetic": True}, validation_share=0, test_share=0)
    assert asked.dropped == {"near-duplicate of another row": 12}
    assert all(int(item.source.split(":")[1]) <= 12 for item in dropped(asked))  # the real ones stay


def test_likeness_is_how_much_must_be_the_same(workshop, twins):
    assert sum(workshop.prepare(twins, dedupe={"near": "drop", "likeness": 1.0}).counts.values()) == 80


def test_true_and_false_still_mean_exact_copies(workshop):
    data = workshop.lines("t.jsonl", [*tickets(30), *tickets(30)])
    assert sum(workshop.prepare(data, dedupe=True).counts.values()) == 30
    assert sum(workshop.prepare(data, dedupe=False).counts.values()) == 60
    assert sum(workshop.prepare(data, dedupe={"exact": False}).counts.values()) == 60


def test_near_copies_of_a_test_file_are_noted_and_dropped_when_asked(workshop, twins):
    chosen = random.Random(9)
    text = sentence(chosen, 50)
    workshop.lines("extra.jsonl", [{"text": edited(text, 0.05, chosen)}])
    test = workshop.lines("e.jsonl", [{"text": text}])
    data = {"train": [twins, "extra.jsonl"], "test": test}
    noted = workshop.prepare(data)
    assert noted.counts["test"] == 1
    assert any("nearly repeat a held-out row" in warning and "extra.jsonl:1" in warning for warning in noted.warnings)
    result = workshop.prepare(data, dedupe={"near": "drop"})
    assert result.dropped["near-duplicate of a test row"] == 1


def test_semantic_needs_embeddings():
    with pytest.raises(SettingsError, match="embeddings"):
        build(PrepareSettings, {"dedupe": {"semantic": "drop"}}, "metier.yaml")


def test_semantic_duplicates_say_the_same_in_other_words(workshop, embeddings):
    texts = ["cancel the order", "revoke the purchase", "weather is lovely", "sunshine outside today"]
    texts += [f"pepper {word}" for word in ("one", "two", "three", "four")]
    data = workshop.lines("t.jsonl", [{"text": text, "label": "a"} for text in texts])
    settings = {"semantic": "drop", "embeddings": embeddings, "near": "off", "keep": "first"}
    kept = {row.text for part in rows(workshop.prepare(data, dedupe=settings)).values() for row in part}
    assert kept == {texts[0], texts[2], *texts[4:]}
    loose = settings | {"semantic_likeness": 0.5}
    assert sum(workshop.prepare(data, dedupe=loose).counts.values()) < len(kept)


def test_embeddings_that_are_none(workshop):
    workshop.write("bad/tokenizer.json", "{}")
    data = workshop.lines("t.jsonl", tickets(20))
    with pytest.raises(DataError, match=r"no model\.safetensors"):
        workshop.prepare(data, dedupe={"semantic": "drop", "embeddings": "bad"})
    workshop.write("bad/model.safetensors", "{}")
    with pytest.raises(ModelError, match="not a tokenizer"):
        workshop.prepare(data, dedupe={"semantic": "drop", "embeddings": "bad"})
    with pytest.raises(DataError, match="embeddings"):
        workshop.prepare(data, dedupe={"semantic": "drop", "embeddings": workshop.write("x", "y")})
