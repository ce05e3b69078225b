"""What becomes of near-duplicates: every decision is made once, whatever is told of it afterwards."""

import random

import pytest

from metier.prepare import ledger, places, spool
from metier.prepare.cleaning import glance
from metier.prepare.duplicates import clusters, shelf, sketches
from metier.prepare.spool import Spool
from tests.prepare.duplicates.planted import edited, sentence
from tests.prepare.workshop import decisions, dropped


@pytest.fixture
def data(workshop):
    """Thirty texts, each twice with a few words changed, and ten of a test file of which training rows are copies."""
    chosen = random.Random(0)
    texts = [sentence(chosen, 40) for _ in range(40)]
    train = texts[:30] + [edited(text, 0.05, chosen) for text in texts]
    test = workshop.lines("e.jsonl", [{"text": text} for text in texts[30:]])
    return {"train": workshop.lines("t.jsonl", [{"text": text} for text in train]), "test": test}


@pytest.mark.parametrize(("near", "expected"), [("drop", 40), ("together", 10)])
def test_every_decision_is_made_once(workshop, data, monkeypatch, near, expected):
    made, decide = [], Spool.decision
    monkeypatch.setattr(Spool, "decision", lambda *arguments: made.append(arguments[2]) or decide(*arguments))
    result = workshop.prepare(data, dedupe={"near": near}, validation_share=0)
    told = [item for item in decisions(result) if item["rule"] == "duplicates.near"]
    assert made.count("duplicates.near") == len(told) == expected
    warned = [warning for warning in result.warnings if "nearly repeat" in warning]
    assert len(warned) == (near == "together")
    if warned:
        assert warned[0].startswith("10 training row(s) nearly repeat a held-out row")
        assert f"first: {told[0]['source']} ({told[0]['detail']})" in warned[0]


def test_what_is_looked_at_together_makes_no_other_snapshot(workshop, data, monkeypatch):
    first = workshop.prepare(data, dedupe={"near": "drop"})
    for room, name in ((shelf, "_TOGETHER"), (clusters, "_PART"), (sketches, "_TOGETHER"), (ledger, "TOGETHER"),
                       (places, "TOGETHER"), (spool, "TOGETHER"), (glance, "TOGETHER")):  # fmt: skip
        monkeypatch.setattr(room, name, 7)
    (workshop.folder / ".metier").rename(workshop.folder / "before")
    again = workshop.prepare(data, dedupe={"near": "drop"})
    assert not again.reused
    assert again.digest == first.digest
    assert len(dropped(again)) == 40
