"""The planner on preferences: two answers a row behind one prompt, what they take, and the base's one reading."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metier.core.progress import Silent
from metier.core.types import Sequence
from metier.forest.arrange import arrange
from metier.forest.way import Way
from metier.model.find import Base, find
from metier.text.rendered import Rendered, columns
from metier.train import preferring
from metier.train.batches import Order
from metier.train.loading import adapted, bare
from metier.train.material import gather
from metier.train.planning import pairs
from metier.train.planning import run as planning
from metier.train.planning.predict import Configuration, Setting, simulate
from metier.train.planning.report import report
from metier.train.planning.simulate import largest
from metier.train.planning.tokens import usage
from metier.train.preferring import Pairs
from metier.train.run import assembled
from metier.train.settings import PreferSettings
from tests.train.conftest import plan
from tests.train.test_prefer import preferences

__all__ = ["preferences"]


def answers(count: int = 12, prompt: int = 40, answer: int = 5) -> list[Sequence]:
    """Pairs, each behind a prompt of its own."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        asked = np.r_[number + 3, random.integers(3, 268, prompt - 1)]
        for side in range(2):
            ids = np.r_[asked, side + 3, random.integers(3, 268, answer - 1)].astype(np.int32)
            weights = np.r_[np.zeros(prompt), np.ones(answer)].astype(np.float32)
            made.append(Sequence(ids=ids, weights=weights, row_id=str(number)))
    return made


@pytest.fixture
def base(tiny_base: Path) -> Base:
    return find(str(tiny_base), tiny_base)


def test_the_prompt_of_a_pair_is_counted_once_and_each_answer_is_counted():
    order = Pairs(Order(12, 4, 12, 0))
    found = usage(columns(answers(), ()), order, lambda rows: arrange(rows, 4096, together=2))
    assert found.steps == 3
    assert found.packed == 12 * 2 * 45
    assert found.padded == 12 * 2 * 45
    assert found.labels == 12 * 2 * 5
    assert found.shared == 12 * (40 + 2 * 4), "the last token of an answer is never read"
    assert len(found.heaviest) == 8


def test_a_pair_is_planned_in_one_forest_however_small_the_budget(base):
    """The planted fault: answers that part where the budget is smaller than a pair."""
    rendered = pairs.unasked(columns(answers(answer=30), ()))
    first = [rendered.sequence(number) for number in range(8)]
    sizes = {}
    for name, chosen in (("pairs", PreferSettings()), ("words", None)):
        setting = Setting(base=base, model=plan().model, process=0, prefers=chosen)
        work = setting.arrange(first, 40, "full")
        sizes[name] = largest(work).tokens
        assert all(len(indices) % setting.together == 0 for indices, _ in work.forests)
        configuration = Configuration(method="full", checkpointing=False, micro_batch_tokens=40)
        assert simulate(setting, configuration, work).memory.activations > 0
    assert sizes == {"pairs": 58, "words": 29}, "answers, without their prompt and the last token, which says nothing"
    order = Pairs(Order(12, 4, 12, 0))
    trained = sum(
        Way().arrange([rendered.sequence(number) for number in order.step(step)], 40, together=2).computed
        for step in range(order.steps)
    )
    assert usage(rendered, order, lambda rows: arrange(rows, 40, together=2)).shared == trained


def material_of(run: Path, base: Base, snapshot: Path):
    return gather(snapshot, base, run, plan(objective="prefer"), Silent())


def test_the_bases_reading_is_counted_as_it_is_done(base, preferences, tmp_path, monkeypatch):
    run = tmp_path / ".metier" / "runs" / "r"
    material = material_of(run, base, preferences)
    read = []
    honest = Way.arrange

    def counted(self, sequences, budget, **named):
        work = honest(self, sequences, budget, **named)
        read.append(work.computed)
        return work

    settings = plan(objective="prefer")
    loaded = adapted(bare(base, settings), base, settings, material, Silent(), run=run)
    fit = assembled(run, loaded, settings, material, Silent())
    monkeypatch.setattr(Way, "arrange", counted)
    preferring._asked(material.train, fit, Silent())
    assert pairs.read_tokens(material.train) == sum(read)
    many = columns(answers(3000, 20, 4), ())
    exact = sum(
        arrange([many.sequence(number) for number in range(first, min(first + 64, len(many)))], 4096).computed
        for first in range(0, len(many), 64)
    )
    assert pairs.read_tokens(many) == pytest.approx(exact, rel=0.01), "a sample of the groups tells"


def test_a_plan_says_what_pairs_take_and_a_run_follows_it(base, preferences, tmp_path, run_to_end):
    run = tmp_path / ".metier" / "runs" / "r"
    material = material_of(run, base, preferences)
    settings = plan(objective="prefer", micro_batch_tokens=None)
    made = planning.make(base, settings, material.train, material.view)
    assert made.chosen.usage.packed == len(material.train.ids)
    assert made.chosen.usage.steps == -(-material.trained_rows // settings.train.rows_per_step)
    assert made.seconds is not None
    assert made.before is not None
    assert 0 < made.before < made.seconds, "reading is a part of learning"
    text = report(made, "base").verdict.text
    assert "Before the first step the base reads all answers once" in text
    assert "Before the first step" not in report(replace(made, before=None), "base").verdict.text
    run = run_to_end(settings, snapshot=preferences)
    chosen = {entry["name"]: entry for entry in json.loads((run / "choices.json").read_text(encoding="utf-8"))}
    assert chosen["train.micro_batch_tokens"]["value"] == made.chosen.simulation.configuration.micro_batch_tokens
    assert chosen["train.micro_batch_tokens"]["reason"].startswith("fits ")


def test_what_the_base_says_is_no_part_of_the_sizes(base):
    rendered = columns(answers(), ())
    assert rendered.targets is None
    unasked = pairs.unasked(rendered)
    assert isinstance(unasked, Rendered)
    assert unasked.targets is not None
    assert unasked.targets.shape == (24, 1)
