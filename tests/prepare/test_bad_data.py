"""Data whose files are sound but which cannot be learnt or judged as they are, and settings that cannot be."""

import pytest

from metier.core.errors import SettingsError
from metier.core.settings import build
from metier.prepare.settings import DataSettings, PrepareSettings
from tests.prepare.workshop import refused, rows, tickets


@pytest.mark.parametrize("value", ["base64", "no-such-codec", "rot13"])
def test_unknown_encoding_setting(value):
    with pytest.raises(SettingsError, match="no such text encoding"):
        build(PrepareSettings, {"read": {"encoding": value}}, "metier.yaml")


def test_two_columns_that_could_be_the_label(workshop):
    records = [{"text": f"t {n}", "category": "a", "intent": "b"} for n in range(30)]
    name = workshop.lines("t.jsonl", records)
    message = refused(workshop, name)
    assert "t.jsonl: 2 columns could be the label: 'category', 'intent'; wanted: one" in message
    assert rows(workshop.prepare(name, columns={"label": "intent"}))["train"][0].label == "b"


def test_a_label_column_of_numbers_beside_its_names(workshop):
    records = [{"text": f"t {n}", "label": 1, "label_text": "one"} for n in range(30)]
    assert rows(workshop.prepare(workshop.lines("t.jsonl", records)))["train"][0].label == "one"


def test_a_named_column_that_is_not_there(workshop):
    message = refused(workshop, workshop.lines("t.jsonl", tickets(30)), columns={"text": "body", "label": "label"})
    assert "t.jsonl: no column 'body' for prepare.columns.text; wanted: one of 'text', 'label'" in message


def test_a_group_column_may_be_missing_in_the_test_file(workshop):
    training = [{**row, "customer": f"c{n}"} for n, row in enumerate(tickets(40))]
    data = {"train": workshop.lines("t.jsonl", training), "test": workshop.lines("e.jsonl", tickets(90)[50:60])}
    assert workshop.prepare(data, columns={"group": "customer"}).counts["test"] == 10


def test_judged_rows_are_not_learnt_as_good_ones(workshop):
    records = [{"prompt": f"p{n}", "completion": "c", "label": n % 2 == 0} for n in range(20)]
    found = rows(workshop.prepare(workshop.lines("t.jsonl", records)))
    judged = [row for split in found.values() for row in split]
    assert {row.good for row in judged} == {True, False}
    assert {type(row).__name__ for row in judged} == {"JudgedRow"}


def test_a_label_seen_once_stays_in_training_and_is_named(workshop):
    result = workshop.prepare(workshop.lines("t.jsonl", [*tickets(60), {"text": "odd", "label": "fraud"}]))
    assert "odd" in {row.text for row in rows(result)["train"]}
    assert result.warnings == ("1 label(s) seen once, so they cannot be learnt and tested: 'fraud'",)
    assert workshop.heard.said == ["warning: " + result.warnings[0]]


def test_a_label_that_stands_only_in_the_test_file_is_named(workshop):
    other = [{"text": f"odd {n}", "label": "fraud"} for n in range(3)]
    result = workshop.prepare(
        {"train": workshop.lines("t.jsonl", tickets(60)), "test": workshop.lines("e.jsonl", other)}
    )
    assert result.warnings == ("1 label(s) stand only in held-out rows: 'fraud'",)


def test_a_label_column_that_is_none(workshop):
    records = [{"text": f"t {n}", "label": f"unique {n}"} for n in range(200)]
    result = workshop.prepare(workshop.lines("t.jsonl", records))
    assert "200 different labels in 200 rows: is that column a label?" in result.warnings[-1]


def test_another_answer_to_a_test_question_is_noted(workshop):
    data = {
        "train": workshop.lines("t.jsonl", tickets(60)),
        "test": workshop.lines("e.jsonl", [{"text": "message number 7", "label": "refund"}, *tickets(90)[80:]]),
    }
    result = workshop.prepare(data, validation_share=0)
    assert result.warnings == (
        "1 training row(s) ask what a held-out row asks, with another answer (first: t.jsonl:8)",
    )


def test_only_copies(workshop):
    message = refused(workshop, workshop.lines("t.jsonl", [*tickets(1)] * 50))
    assert message.startswith(
        "1 different training row(s); dropped before: 49 × copy of another row (duplicates.exact, "
    )
    assert "; wanted: at least 3, one for each split; do: add rows" in message
    assert message.endswith("or prepare.dedupe.exact: false keeps such rows, unless they repeat held-out ones")


def test_rows_that_are_all_dropped_name_the_rules_with_their_counts(workshop):
    talks = [{"messages": [{"role": "user", "content": f"Why {n}?"}, {"role": "assistant", "content": "..."}]}
             for n in range(40)]  # fmt: skip
    name = workshop.lines("t.jsonl", talks)
    message = refused(workshop, name)
    assert message.startswith("no training rows are left; dropped before: 40 × ")
    assert "(clean.degenerate, first t.jsonl:1" in message
    assert "prepare.clean.degenerate: flag lists these rows and keeps them" in message
    assert workshop.prepare(name, clean={"degenerate": "flag"}).rows_in == 40


def test_training_rows_that_are_all_in_the_test_file(workshop):
    data = {"train": workshop.lines("t.jsonl", tickets(9)), "test": workshop.lines("e.jsonl", tickets(10))}
    assert "no training rows are left" in refused(workshop, data)


def test_one_group_cannot_be_split(workshop):
    records = [{**row, "group": "everybody"} for row in tickets(40)]
    message = refused(workshop, workshop.lines("t.jsonl", records))
    assert message.startswith("all 40 training rows are in 1 group(s); wanted: at least 3 groups")


def test_one_file_named_twice(workshop):
    name = workshop.lines("t.jsonl", tickets(40))
    assert "named as train and again as test" in refused(workshop, {"train": name, "test": f"./{name}"})
    assert "named as train and again as train" in refused(workshop, {"train": [name, name]})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"formt": "chat"}, "formt: unknown; did you mean 'format'"),
        ({"format": "excel"}, "format"),
        ({"columns": {"txt": "body"}}, "columns"),
        ({"test_share": 0.6}, "test_share"),
        ({"test_share": 0.5, "validation_share": 0.45}, "less than a tenth"),
        ({"max_rows": 2}, "max_rows"),
        ({"most_bad_share": 1.5}, "most_bad_share"),
    ],
)
def test_settings_that_cannot_be(values, message):
    with pytest.raises(SettingsError, match=message):
        build(PrepareSettings, values, "metier.yaml: prepare")


@pytest.mark.parametrize("value", [{"train": ""}, {"train": []}, {"train": ["a", ""]}, {"tran": "x"}, {}])
def test_data_that_names_no_file(value):
    with pytest.raises(SettingsError):
        build(DataSettings, value, "metier.yaml: data")


def test_data_may_be_a_plain_name():
    assert DataSettings.model_validate("a.jsonl") == DataSettings(train="a.jsonl")
    assert DataSettings.model_validate(["a.jsonl", "b.jsonl"]).train_files == ("a.jsonl", "b.jsonl")
