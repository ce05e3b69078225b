"""The order of a curriculum: by a stated rule in the snapshot, and in the steps of the training that reads it."""

import math
import re
from collections import Counter

import pytest

from metier.core import artefact
from metier.core.errors import DataError
from metier.model.find import find
from metier.text.render import open_renderer
from metier.text.settings import TextSettings
from metier.train.batches import Curriculum, Order
from metier.train.settings import ObjectiveSettings
from metier.train.views import view
from tests.prepare.workshop import rows

PLAIN = [{"text": "word " * (1 + place * 7 % 53) + f"end {place}", "level": place % 5} for place in range(120)]


def trained(workshop, records=PLAIN, columns=None, **curriculum):
    name = workshop.lines("t.jsonl", records)
    return rows(
        workshop.prepare(name, dedupe={"near": "off"}, columns=columns or {}, balance={"curriculum": curriculum})
    )["train"]


def test_short_rows_first_or_long_ones(workshop):
    lengths = [len(row.text) for row in trained(workshop, by="length")]
    assert lengths == sorted(lengths)
    backwards = [len(row.text) for row in trained(workshop, by="length", first="hard")]
    assert backwards == sorted(backwards, reverse=True)
    shuffled = [len(row.text) for row in trained(workshop, by="none")]
    assert shuffled != lengths


def test_by_a_column_those_without_a_number_last(workshop):
    records = [dict(record) for record in PLAIN]
    for record in records[:9]:
        record["level"] = "unknown"
    found = [row.difficulty for row in trained(workshop, records, columns={"difficulty": "level"}, by="difficulty")]
    known = [level for level in found if level is not None]
    assert known == sorted(known)
    assert found == known + [None] * (len(found) - len(known))
    assert len(known) < len(found)
    with pytest.raises(DataError, match="no training row has a number in such a column"):
        trained(workshop, by="difficulty")


def test_rarity_is_the_sum_of_the_surprises_of_the_words(workshop):
    texts = [
        f"the cat number{place % 7} sat" + " on the mat" * (place % 3) + " rarely" * (place == 5) for place in range(60)
    ]
    records = [{"text": f"{text} row{place}"} for place, text in enumerate(texts)]
    found = [row.text for row in trained(workshop, records, by="rarity")]
    words = {text: re.findall(r"\w+", text) for text in found}
    counts = Counter(word for listed in words.values() for word in listed)
    surprise = {
        text: sum(-math.log(counts[word] / counts.total()) for word in listed) for text, listed in words.items()
    }
    order = [surprise[text] for text in found]
    assert order == pytest.approx(sorted(order))
    assert order[0] < order[-1]


def test_repeated_and_weighed_rows_follow_the_order_too(workshop):
    records = [{"text": record["text"], "label": "a" if place % 6 else "b"} for place, record in enumerate(PLAIN)]
    name = workshop.lines("t.jsonl", records)
    balance = {"sampling": "up", "weighting": "inverse", "curriculum": {"by": "length"}}
    found = rows(workshop.prepare(name, dedupe={"near": "off"}, balance=balance))["train"]
    assert [len(row.text) for row in found] == sorted(len(row.text) for row in found)
    assert any("-" in row.id for row in found)


def test_the_first_passes_go_part_by_part_and_later_ones_are_shuffled():
    order = Order(100, 10, 300, 5, curriculum=Curriculum(parts=5, passes=2))
    drawn = [order.step(step) for step in range(order.steps)]
    for epoch in range(3):
        mine = [row for step in drawn[10 * epoch : 10 * epoch + 10] for row in step]
        assert sorted(mine) == list(range(100))
        in_parts = [row // 20 for row in mine] == sorted(row // 20 for row in mine)
        assert in_parts == (epoch < 2)
        assert mine != sorted(mine)
    assert drawn[:10] != drawn[10:20]
    plain = Order(100, 10, 300, 5)
    assert [plain.step(step) for step in range(20, 30)] == drawn[20:]
    again = Order(100, 10, 300, 5, curriculum=Curriculum(parts=5, passes=2))
    assert again.step(13) == drawn[13]
    few = Order(3, 2, 6, 5, curriculum=Curriculum(parts=10, passes=1))
    assert sorted([*few.step(0), *few.step(1)][:3]) == [0, 1, 2]


def test_parts_and_passes_reach_the_training(workshop, tmp_path):
    name = workshop.lines("t.jsonl", PLAIN)
    result = workshop.prepare(name, balance={"curriculum": {"by": "length", "parts": 4, "passes": 2}})
    renderer = open_renderer(find("metier-tiny", tmp_path).folder, TextSettings())
    facts = artefact.read(result.path, "snapshot").facts
    seen = view(ObjectiveSettings(), rows(result)["train"], renderer, facts=facts)
    assert seen.curriculum == Curriculum(parts=4, passes=2)
    plain = workshop.prepare(name)
    seen = view(ObjectiveSettings(), rows(plain)["train"], renderer, facts=artefact.read(plain.path, "snapshot").facts)
    assert seen.curriculum is None
