"""Drawn answers: pass@k without bias, the same draws for the same seed; and likeness of meaning."""

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from metier.core.errors import DataError, SettingsError
from metier.core.progress import Silent
from metier.engine.request import Sampling
from metier.engine.sample import complete
from metier.engine.several import Drawing, several
from metier.evaluate.graders.grade import Where, grade
from metier.model.find import find
from metier.model.load import load_base
from metier.score.execute import pass_at
from metier.score.graders.settings import Grader, JudgeSettings
from tests.evaluate.conftest import Workplace
from tests.evaluate.test_graders import Ask, graded, values

PROMPTS = [[1, 40, 41, 42], [1, 40, 41, 50, 51]]


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> torch.nn.Module:
    return load_base(find(str(tiny_base), tiny_base), device=torch.device("cpu"), seed=0)


def drawn(model: torch.nn.Module, **sampling: Any) -> list[list[tuple[int, ...]]]:
    how = Drawing(sampling=Sampling(**sampling), most_tokens=6, stop_ids=(2,))
    said = several(model, PROMPTS, tries=4, how=how, progress=Silent())
    return [[tuple(answer.ids) for answer in answers] for answers in said]


def test_draws_are_a_function_of_seed_and_number(model: torch.nn.Module) -> None:
    first = drawn(model, temperature=1.0)
    assert first == drawn(model, temperature=1.0)
    assert first != drawn(model, temperature=1.0, seed=1)
    assert len({answer for answers in first for answer in answers}) > 4
    how = Drawing(sampling=Sampling(temperature=1.0), most_tokens=60, stop_ids=(2,), seeds=(0, 9))
    apart = several(model, PROMPTS, tries=4, how=how, progress=Silent())
    assert [tuple(answer.ids[:6]) for answer in apart[0]] == first[0], "a seed of each prompt's own"
    assert [tuple(answer.ids[:6]) for answer in apart[1]] != first[1]
    assert all((answer.stop == 2) == (len(answer.ids) < 60) for answers in apart for answer in answers)
    assert {answer.stop for answers in apart for answer in answers} == {None, 2}
    greedy = complete(model, PROMPTS, stop_ids=[2], max_new_tokens=6, pad_id=0, progress=Silent())
    cold = drawn(model, temperature=0.0)
    assert cold == [[each.ids] * 4 for each in greedy]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_share_of_all_choices_of_k_answers(k: int) -> None:
    for tries, right in ((5, 0), (5, 2), (6, 5), (7, 7)):
        chosen = list(itertools.combinations([place < right for place in range(tries)], k))
        assert pass_at(tries, right, k) == pytest.approx(sum(map(any, chosen)) / len(chosen))


def test_pass_at_k_has_no_bias_where_the_simple_estimate_has() -> None:
    """Chen et al. 2021, section 2.1: 1 - (1 - share)^k says too little."""
    source, share, k = random.Random(1), 0.3, 4
    rights = [sum(source.random() < share for _ in range(8)) for _ in range(4000)]
    truth = 1 - (1 - share) ** k
    assert np.mean([pass_at(8, right, k) for right in rights]) == pytest.approx(truth, abs=0.02)
    assert np.mean([1 - (1 - right / 8) ** k for right in rights]) < truth - 0.03


def test_code_is_graded_by_drawn_answers(ask: Ask, tmp_path: Path) -> None:
    good, bad = "def f(x): return 2 * x", "def f(x): return x"
    answers = ([[bad] * 4, [bad] * 4], [[good, bad, bad, bad], [good, good, bad, bad]])
    rules = {"type": "code", "allow": True, "k": 2, "tries": 4}

    def found(**changed: Any) -> dict[str, tuple[float, float]]:
        read = TypeAdapter(Grader).validate_python(rules | changed)
        where = Where(folder=tmp_path, draw=lambda grader: answers)
        asked = ask(["assert f(3) == 6"] * 2)
        said = ["", ""]
        return values(
            grade(asked, (said, said), [read], judge_settings=JudgeSettings(), where=where, progress=Silent())
        )

    told = found()
    assert told["code pass@1"] == (0, pytest.approx(3 / 8))
    assert told["code pass@2"] == (0, pytest.approx((1 / 2 + 5 / 6) / 2))
    with pytest.raises(SettingsError, match="1 tries for pass@2"):
        found(tries=1)
    with pytest.raises(SettingsError, match="allow: true"):
        found(allow=False)


def test_an_evaluation_draws_for_both_models(again: Workplace) -> None:
    (again.store.parent / "t.py").write_text("pass", encoding="utf-8")
    rules = {"type": "code", "allow": True, "tests": "t.py", "k": 2, "tries": 2, "temperature": 1.0}
    facts = again.evaluate(graders=[rules], max_rows=4, retention=False)
    names = {metric["name"] for metric in facts["metrics"]}
    assert {"graded/mean/code pass@2", "graded/mean/code pass@1"} <= names
    colder = again.evaluate(graders=[rules | {"temperature": 0.01}], max_rows=4, retention=False)
    assert colder["conditions"] != facts["conditions"]


@pytest.fixture
def meanings(tmp_path: Path) -> Path:
    """A static model that knows that cat and kitten are near, and that a stone is not."""
    words = {"cat": 0, "kitten": 1, "stone": 2, "[UNK]": 3}
    table = np.array([[1, 0], [0.9, 0.1], [0, 1], [0, 0]], np.float32)
    tokenizer = Tokenizer(WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    save_file({"embeddings": table}, tmp_path / "model.safetensors")
    return tmp_path


def test_likeness_of_meaning(ask: Ask, meanings: Path) -> None:
    rules = {"type": "embedding", "path": "."}
    wanted = ["cat", "cat"]
    found = values(graded(ask, meanings, rules, wanted, ["stone", "stone"], ["kitten", "cat"]))
    assert found["embedding"][0] == pytest.approx(0.0, abs=1e-6)
    assert 0.99 < found["embedding"][1] <= 1
    counted = values(graded(ask, meanings, rules | {"pass_threshold": 0.999}, wanted, ["stone", ""], ["kitten", "cat"]))
    assert counted["embedding"] == (0, 0.5)
    with pytest.raises(DataError, match="graders: embedding"):
        graded(ask, meanings, rules | {"path": "nowhere"}, wanted, wanted, wanted)
