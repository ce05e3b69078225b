"""Caps, sampling, mixtures and weights: what becomes of training rows, and of no others."""

from collections import Counter

import numpy as np
import pytest

from metier.core.errors import DataError, SettingsError
from metier.core.settings import build
from metier.prepare.balance.sample import wanted
from metier.prepare.balance.settings import BalanceSettings
from metier.prepare.balance.weigh import weights
from metier.prepare.difference import difference
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.summary import report
from tests.prepare.workshop import decisions, dropped, raw, rows

SIZES = {"refund": 300, "delivery": 60, "praise": 20}


def unequal(sizes=SIZES, start=0):
    return [
        {"text": f"message {start + place} about {label}", "label": label, "slice": "mail" if place % 4 else "phone"}
        for label, count in sizes.items()
        for place in range(count)
    ]


def labels(result) -> Counter[str]:
    return Counter(row.label for row in rows(result)["train"])


def held_out(result):
    return [row.id for split in ("validation", "test") for row in rows(result)[split]]


@pytest.fixture
def plain(workshop):
    return workshop.prepare(workshop.lines("t.jsonl", unequal()))


def test_without_balance_rows_stay_as_they_are(workshop, plain):
    assert (plain.repeated, plain.dropped) == (0, {})
    again = workshop.prepare("t.jsonl", balance={"sampling": "temperature", "temperature": 1.0})
    assert again.path != plain.path
    assert raw(again, "train") == raw(plain, "train")


def test_caps_by_label_slice_and_source(workshop, plain):
    result = workshop.prepare("t.jsonl", balance={"most": {"label": 50, "slice": 60}})
    found = rows(result)
    assert labels(result)["refund"] <= 50
    assert Counter(row.slice for row in found["train"]).most_common(1)[0][1] <= 60
    assert held_out(result) == held_out(plain)
    assert {item.rule for item in dropped(result)} == {"balance"}
    assert any("over prepare.balance.most for its label" in reason for reason in result.dropped)
    capped = workshop.prepare("t.jsonl", balance={"most": {"source": 40}})
    assert capped.counts["train"] == 40


def test_rows_that_a_cap_keeps_stay_when_others_come(workshop):
    first = workshop.lines("t.jsonl", unequal())
    kept = {row.text for row in rows(workshop.prepare(first, balance={"most": {"label": 50}}))["train"]}
    more = workshop.lines("more.jsonl", unequal({"refund": 30}, start=1000))
    grown = rows(workshop.prepare({"train": [first, more]}, balance={"most": {"label": 50}}))["train"]
    old = {row.text for row in grown} & kept
    assert len(old) >= len(kept) - 10  # 30 of 330 rows are new: about five of the fifty give way


def test_down(workshop, plain):
    smallest = min(labels(plain).values())
    result = workshop.prepare("t.jsonl", balance={"sampling": "down"})
    assert set(labels(result).values()) == {smallest}
    assert held_out(result) == held_out(plain)
    assert result.repeated == 0


def test_up(workshop, plain):
    largest = max(labels(plain).values())
    result = workshop.prepare("t.jsonl", balance={"sampling": "up", "most_times": 100})
    assert set(labels(result).values()) == {largest}
    assert result.dropped == {}
    assert result.repeated == result.counts["train"] - plain.counts["train"] > 0
    texts = Counter(row.text for row in rows(result)["train"] if row.label == "praise")
    assert max(texts.values()) - min(texts.values()) <= 1
    assert held_out(result) == held_out(plain)
    found = difference(plain.path, result.path)
    assert {why for _, _, why in found.added} == {"repeated"}
    assert (found.removed, found.changed, len(found.added)) == ([], [], result.repeated)


def test_a_row_is_not_repeated_more_often_than_allowed(workshop, plain):
    result = workshop.prepare("t.jsonl", balance={"sampling": "up", "most_times": 3})
    assert labels(result)["praise"] == 3 * labels(plain)["praise"]
    (warning,) = [text for text in result.warnings if "most_times" in text]
    assert "2 class(es) stay smaller" in warning


def test_temperature_moves_shares_as_the_formula_says(workshop, plain):
    counts = labels(plain)
    result = workshop.prepare("t.jsonl", balance={"sampling": "temperature", "temperature": 3.0})
    roots = {label: count ** (1 / 3) for label, count in counts.items()}
    for label, count in labels(result).items():
        assert count == pytest.approx(sum(counts.values()) * roots[label] / sum(roots.values()), abs=1)
    assert result.counts["train"] == plain.counts["train"]
    flat = labels(workshop.prepare("t.jsonl", balance={"sampling": "temperature", "temperature": 1000.0}))
    assert max(flat.values()) - min(flat.values()) <= 2


def test_the_number_of_rows(workshop, plain):
    fewer = workshop.prepare("t.jsonl", balance={"sampling": "temperature", "rows": 90})
    assert fewer.counts["train"] == 90
    assert workshop.prepare("t.jsonl", balance={"rows": 120}).counts["train"] == 120
    more = workshop.prepare("t.jsonl", balance={"rows": 500})
    assert (more.counts["train"], more.repeated) == (500, 500 - plain.counts["train"])


def test_classes_by_slice_and_by_source(workshop):
    first, second = workshop.lines("a.jsonl", unequal()), workshop.lines("b.jsonl", unequal({"refund": 40}, start=5000))
    result = workshop.prepare({"train": [first, second]}, balance={"by": "source", "sampling": "down"})
    sources = Counter(row.source.partition(":")[0] for row in rows(result)["train"])
    assert sources["a.jsonl"] == sources["b.jsonl"]
    result = workshop.prepare(first, balance={"by": "slice", "sampling": "down"})
    assert len(set(Counter(row.slice for row in rows(result)["train"]).values())) == 1


def test_a_mixture_of_sources(workshop):
    workshop.lines("a.jsonl", unequal())
    workshop.lines("b.jsonl", unequal({"refund": 60}, start=5000))
    mixed = [{"path": "a.jsonl", "weight": 1}, {"path": "b.jsonl", "weight": 3}]
    result = workshop.prepare({"train": mixed}, balance={"rows": 120})
    sources = Counter(row.source.partition(":")[0] for row in rows(result)["train"])
    assert sources == {"a.jsonl": 30, "b.jsonl": 90}
    assert result.path != workshop.prepare({"train": ["a.jsonl", "b.jsonl"]}, balance={"rows": 120}).path


def test_a_mixture_and_a_sampling_are_two_mixtures(workshop):
    workshop.lines("a.jsonl", unequal())
    with pytest.raises(DataError, match="two mixtures; wanted: one of them"):
        workshop.prepare({"train": [{"path": "a.jsonl", "weight": 1}]}, balance={"sampling": "up"})
    with pytest.raises(SettingsError, match="a mixture needs a weight for every entry"):
        build(DataSettings, {"train": ["a.jsonl", {"path": "b.jsonl", "weight": 1}]}, "metier.yaml")
    with pytest.raises(SettingsError, match="a weight only means something"):
        build(DataSettings, {"train": "a.jsonl", "test": {"path": "b.jsonl", "weight": 1}}, "metier.yaml")


def test_weights_stand_in_the_rows(workshop, plain):
    counts = labels(plain)
    for weighting in ({"weighting": "inverse"}, {"weighting": "effective", "beta": 0.99}):
        result = workshop.prepare("t.jsonl", balance=weighting)
        found = rows(result)
        by_label = {row.label: row.weight for row in found["train"]}
        assert by_label["praise"] > by_label["delivery"] > by_label["refund"]
        assert np.mean([row.weight for row in found["train"]]) == pytest.approx(1)
        assert {row.weight for row in found["test"]} == {1.0}
        assert [row.id for row in found["train"]] == [row.id for row in rows(plain)["train"]]
    inverse = {
        row.label: row.weight for row in rows(workshop.prepare("t.jsonl", balance={"weighting": "inverse"}))["train"]
    }
    assert inverse["praise"] / inverse["refund"] == pytest.approx(counts["refund"] / counts["praise"])


def test_weights_multiply_those_that_rows_have(workshop):
    records = [record | {"weight": 2.0} for record in unequal()]
    plain = rows(workshop.prepare(workshop.lines("t.jsonl", unequal()), balance={"weighting": "inverse"}))["train"]
    twice = rows(workshop.prepare(workshop.lines("u.jsonl", records), balance={"weighting": "inverse"}))["train"]
    assert [row.weight for row in twice] == [pytest.approx(2 * row.weight) for row in plain]


def test_effective_numbers_of_samples():
    counts = np.array([1, 10, 1000, 100000])
    found = weights(counts, BalanceSettings(weighting="effective", beta=0.999))
    effective = (1 - 0.999**counts) / (1 - 0.999)  # Cui et al. 2019, proposition 1
    assert found[0] / found[2] == pytest.approx(effective[2] / effective[0])
    assert (found * counts).sum() == pytest.approx(counts.sum())
    alike = weights(counts, BalanceSettings(weighting="effective", beta=0.0))
    assert alike.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("balance", [{"sampling": "down"}, {"most": {"slice": 3}}, {"weighting": "inverse"}])
def test_nothing_to_go_by(workshop, balance):
    name = workshop.lines("t.jsonl", [{"text": f"a story about number {place}"} for place in range(30)])
    with pytest.raises(DataError, match="no training row has one; wanted: rows with a"):
        workshop.prepare(name, balance=balance)
    assert workshop.snapshots() == []


@pytest.mark.parametrize(
    ("balance", "says"),
    [
        ({"temperature": 3.0}, "temperature would change nothing: sampling is not temperature"),
        ({"beta": 0.5}, "beta would change nothing: weighting is not effective"),
        ({"curriculum": {"parts": 4}}, "parts would change nothing: curriculum.by is none"),
        ({"most": {"labels": 4}}, "label"),
        ({"most": {"label": 0}}, "greater than or equal to 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(balance, says):
    with pytest.raises(SettingsError, match=says):
        build(PrepareSettings, {"balance": balance}, "metier.yaml")


def test_rows_that_are_to_be_kept_are_kept(workshop, plain):
    lost = dropped(workshop.prepare("t.jsonl", balance={"most": {"label": 5}}))[0].source
    result = workshop.prepare("t.jsonl", balance={"most": {"label": 5}}, keep=[lost])
    assert lost in {row.source for row in rows(result)["train"]}
    result = workshop.prepare("t.jsonl", balance={"rows": 12}, keep=[lost])
    assert lost in {row.source for row in rows(result)["train"]}


def test_repeated_rows_beside_copies_that_are_kept(workshop):
    records = [*unequal(), *unequal({"praise": 20})[:20]]
    result = workshop.prepare(
        workshop.lines("t.jsonl", records), dedupe={"exact": False}, balance={"sampling": "up", "most_times": 50}
    )
    assert len(rows(result)["train"]) == result.counts["train"]  # `rows` checks that ids differ


def test_the_report_says_how_many_there_were_and_are(workshop):
    name = workshop.lines("t.jsonl", unequal())
    result = workshop.prepare(name, balance={"most": {"label": 50}, "weighting": "inverse"})
    (table,) = [table for table in report(result.path).tables if table.title == "Balance"]
    assert table.columns == ("class", "rows before", "lines after", "share before", "share after", "weight")
    before = {row[0]: row[1] for row in table.rows}
    assert before["label refund"] > 200
    assert {row[0]: row[2] for row in table.rows}["label refund"] <= 50
    assert {entry["rule"] for entry in decisions(result)} == {"balance"}


@pytest.mark.parametrize("rows_asked", [None, 7, 100, 12345])
def test_sizes_add_up(rows_asked):
    rng = np.random.default_rng(3)
    for temperature in (1.0, 1.7, 50.0):
        counts = rng.integers(0, 400, 30)
        settings = BalanceSettings(sampling="temperature", temperature=temperature, rows=rows_asked)
        sizes = wanted(counts, settings, None)
        total = counts.sum() if rows_asked is None else rows_asked
        assert ((sizes > 0) == (counts > 0)).all()
        assert total <= sizes.sum() <= total + 30  # every class has one line at least
        assert sizes.sum() == total or total < 1000
