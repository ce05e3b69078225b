"""Which base is recommended, and that nothing is passed over without a reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.advise.bases.candidates import Candidate
from metier.advise.bases.judge import Cost, Looked, pick
from metier.advise.bases.licences import Found, named
from metier.advise.bases.nature import Nature
from metier.advise.bases.zero_shot import Scored
from metier.advise.ways import Tried, judged
from metier.model.find import Base

ROWS = 60


def scored(right: int, *, bits: float = 8.0, in_form: float = 1.0) -> Scored:
    scores = np.array([1.0] * right + [0.0] * (ROWS - right))
    way = judged(
        Tried(name="x", family="prompt", effort=3, outputs=("",) * ROWS), scores, in_form,
        groups=[None] * ROWS, confidence=0.95,
    )  # fmt: skip
    noise = np.linspace(-0.5, 0.5, ROWS)
    return Scored(way=way, surprise=np.stack([bits + noise, np.full(ROWS, 1.0)], axis=1))


def base(name: str, result: Scored | str, *, size: int = 10, licence: str = "apache-2.0", **facts: Any) -> Looked:
    known = named(licence)
    made = Base(name=name, folder=Path(name), kind="folder", digest=name)
    found = Found(licence=known, said=licence, source="README.md", strictest=known.commercial if known else "not known")
    nature = Nature(
        architecture="llama", parameters=size, layers=2, context=256, vocabulary=9, stored=size, disk=size,
        faults=facts.get("faults", ()), chat=facts.get("chat", True),
    )  # fmt: skip
    return Looked(
        candidate=Candidate(name=name, origin="given", folder=Path(name), base=made, weights=True),
        nature=nature, licence=found, features=(), scored=result,
        costs=(Cost(method="LoRA", memory=1, fits=facts.get("fits", True), seconds=1.0),),
    )  # fmt: skip


def chosen(*looked: Looked, commercial: bool = True):
    return pick(looked, commercial=commercial, margin=0.02, confidence=0.95, groups=[None] * ROWS)


def test_the_best_score_wins_where_rows_can_tell():
    found = chosen(base("weak", scored(10), size=1), base("strong", scored(50), size=99))
    assert found.chosen == "strong"
    assert "points behind strong" in found.others["weak"]


def test_within_noise_the_less_surprised_wins_and_then_the_smaller():
    assert chosen(base("a", scored(30, bits=8), size=9), base("b", scored(31, bits=2), size=10)).chosen == "b"
    found = chosen(base("large", scored(31), size=99), base("small", scored(30), size=9))
    assert found.chosen == "small"
    assert "larger than small" in found.others["large"]


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"licence": "cc-by-nc-4.0"}, "forbids commercial use"),
        ({"fits": False}, "fits into the memory"),
        ({"faults": ("config.json describes 7 parameters, the files hold 9",)}, "the files hold"),
    ],
)
def test_a_base_that_may_not_or_cannot_be_used_is_not_recommended_however_good(facts, part):
    found = chosen(base("tempting", scored(60), **facts), base("plain", scored(5)))
    assert found.chosen == "plain"
    assert part in found.others["tempting"]


def test_research_may_use_what_commerce_may_not():
    found = chosen(base("free", scored(5)), base("research", scored(60), licence="cc-by-nc-4.0"), commercial=False)
    assert found.chosen == "research"


def test_what_was_not_asked_is_named_and_nothing_is_made_up():
    found = chosen(base("absent", "its weights are not here"))
    assert found.chosen is None
    assert "could be better: it was not asked" in found.others["absent"]


def test_what_has_to_be_known_of_the_recommended_base_is_said():
    found = chosen(base("odd", scored(0, in_form=0.0), licence="kindness", chat=False))
    told = " ".join(found.reasons)
    for part in ("in the form of the task 0 %", "licence is not known", "no chat template"):
        assert part in told
