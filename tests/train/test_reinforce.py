"""Rewards: the gradient written out in float64, and runs from tasks to a model that does what is rewarded."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from metier.core.errors import DataError, SettingsError
from metier.core.progress import Silent
from metier.core.types import Sequence
from metier.forest.way import ALONE, Way
from metier.model.find import find
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.train.making import Made
from metier.train.objectives.regularised import BaseModel
from metier.train.objectives.reinforce import Reinforce
from metier.train.reinforcing.advantages import advantages, token_weight
from metier.train.reinforcing.source import Rewarded
from metier.train.run import train
from metier.train.settings import ObjectiveSettings
from tests.train import killing
from tests.train.conftest import plan
from tests.train.test_kill import fingerprint, train_in_child
from tests.train.test_objectives import EXACT, base_model, difference, our_gradients

FAST: dict[str, Any] = {"rows_per_step": 4, "max_steps": 3, "checks": 1, "learning_rate": 1e-3, "epochs": 100}


# --- the formulas ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rewards", [[1, 0, 0, 1], [0.2, 0.9, 0.4], [0, 1]])
def test_advantages_are_those_of_the_papers(rewards):
    r, count = np.array(rewards, float), len(rewards)
    spread = np.sqrt(((r - r.mean()) ** 2).mean())
    assert advantages(r, "grpo") == pytest.approx((r - r.mean()) / spread, rel=1e-12)
    assert advantages(r, "dr-grpo") == pytest.approx(r - r.mean(), rel=1e-12)
    others = [r[i] - np.delete(r, i).mean() for i in range(count)]
    assert advantages(r, "rloo") == pytest.approx(others, rel=1e-12)
    for kind in ("grpo", "dr-grpo", "rloo"):
        assert not advantages(np.full(4, 0.1), kind).any(), "0.1 + 0.1 + … rounds; equal rewards are seen first"
    assert [token_weight(kind, tokens=4, most_tokens=10) for kind in ("grpo", "dr-grpo", "rloo")] == [0.25, 0.1, 1.0]


def answers(kind: Any = "grpo", *, turn: int = 1) -> tuple[list[Sequence], list[tuple[np.ndarray, int, float, float]]]:
    """Three groups behind prompts that begin alike, as sequences and as (ids, length of the prompt, A, c).

    The second group is even and so not among the sequences; `turn` -1 plants a swapped sign.
    """
    random, made, plain = np.random.default_rng(5), [], []
    begin = random.integers(3, 268, 18)
    for number, rewards in enumerate(([1, 0, 0.25], [1, 1, 1], [0, 0, 1])):
        asked = np.concatenate((begin, random.integers(3, 268, 3 + number)))
        worth = advantages(np.array(rewards, float), kind)
        for place, value in enumerate(worth):
            said = random.integers(3, 268, 2 + place)
            ids = np.concatenate((asked, said)).astype(np.int32)
            share = np.float32(token_weight(kind, tokens=len(said), most_tokens=8))
            target = np.array([turn * value, 9 / 6], np.float32)
            plain.append((ids, len(asked), float(np.float32(value)), float(share)))
            weights = np.zeros(len(ids), np.float32)
            weights[len(asked) :] = share
            if value:
                made.append(Sequence(ids=ids, weights=weights, row_id=str(number), target=target))
    return made, plain


def written_out(model: torch.nn.Module, plain: list[tuple[np.ndarray, int, float, float]]) -> torch.Tensor:
    """-1/n Σ_i A_i Σ_t c_i log p(o_i,t), answer by answer through the library's own model."""
    total = torch.zeros((), dtype=torch.float64)
    for ids, asked, advantage, share in plain:
        tokens = torch.from_numpy(ids.astype(np.int64))
        logits = model(input_ids=tokens[None]).logits[0, asked - 1 : -1]
        total = total + advantage * share * cross_entropy(logits, tokens[asked:], reduction="sum")
    return total / len(plain)


@pytest.fixture
def exact(tiny_base) -> torch.nn.Module:
    return base_model(tiny_base).double().requires_grad_(True).train()


def gradients_of(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("kind", ["grpo", "dr-grpo", "rloo"])
@pytest.mark.parametrize("way", [Way(), Way(plain_head=False), ALONE])
def test_the_gradient_is_that_of_the_formula(kind, way, exact):
    made, plain = answers(kind)
    expected = written_out(exact, plain)
    wanted = gradients_of(exact, expected)
    for budget in (1 << 20, 40, 1) if way.packed else (1 << 20,):
        loss, found = our_gradients(exact, Reinforce(way), way.arrange(made, budget), way)
        assert loss == pytest.approx(expected.item(), rel=1e-9)
        assert difference(found, wanted) <= EXACT


def test_a_swapped_sign_would_not_pass(exact):
    """The planted fault: answers that are worse than their group would be learnt."""
    _, plain = answers()
    wanted = gradients_of(exact, written_out(exact, plain))
    found = our_gradients(exact, Reinforce(), Way().arrange(answers(turn=-1)[0], 1 << 20))[1]
    assert difference(found, wanted) > 1


def test_the_pull_to_the_base_is_added_at_every_token(tiny_base, exact):
    base = base_model(tiny_base).double()
    objective = Reinforce(Way(), base=BaseModel(base, Way()), pull=0.3)
    with torch.no_grad():
        for weight in exact.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)), alpha=0.05)
    made, plain = answers()
    expected = written_out(exact, plain)
    for ids, asked, advantage, share in plain:
        if not advantage:
            continue  # not among those that are learnt here
        tokens = torch.from_numpy(ids.astype(np.int64))[None]
        with torch.no_grad():
            before = torch.log_softmax(base(input_ids=tokens).logits[0, asked - 1 : -1], dim=-1)
        now = torch.log_softmax(exact(input_ids=tokens).logits[0, asked - 1 : -1], dim=-1)
        expected = expected + 0.3 * share * (before.exp() * (before - now)).sum() / len(plain)
    wanted = gradients_of(exact, expected)
    for budget in (1 << 20, 40):
        loss, found = our_gradients(exact, objective, Way().arrange(made, budget))
        assert loss == pytest.approx(expected.item(), rel=1e-9)
        assert difference(found, wanted) <= EXACT


def test_the_prompt_of_a_group_is_read_once():
    work = Way().arrange(answers()[0], 1 << 20)
    assert work.computed < 0.5 * work.given


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of tasks in OpenAI's form: a conversation that waits, and a column for the grader."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {"messages": [{"role": "user", "content": f"say {number}"}], "wanted_letter": "ab"[number % 2]}
        for number in range(40)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    chosen = PrepareSettings(test_share=0, validation_share=0.2, format="task")
    return prepare(
        DataSettings(train="train.jsonl"), chosen, folder=folder, store=folder / ".metier", seed=0, progress=Silent()
    ).path


HAS_A: dict[str, Any] = {"type": "string_check", "operation": "ilike", "reference": "a"}
SHORT = {"type": "python", "source": "def grade(sample, item):\n    return 1 / (1 + len(sample['output_text']))"}


def rewarded(grader: Any = SHORT, model: dict[str, Any] | None = None, **settings: Any) -> Any:
    """A plan of a few quick steps; `reinforce` among the settings changes that section."""
    chosen = {"grader": grader, "answers": 4, "max_new_tokens": 6} | settings.pop("reinforce", {})
    return plan(model, objective={"name": "reinforce", "reinforce": chosen}, **(FAST | settings))


def log(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if kind in line]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(next((run / "model").glob("*model.safetensors")))


def same(first: Path, second: Path) -> bool:
    return all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


@pytest.mark.parametrize("kind", ["grpo", "dr-grpo", "rloo"])
def test_what_is_rewarded_is_learnt(kind, run_to_end, tasks):
    settings = rewarded(
        HAS_A, reinforce={"answers": 16, "max_new_tokens": 8, "advantage": kind, "held_out_answers": 4},
        max_steps=18, learning_rate=0.01, schedule={"shape": "constant"},
    )  # fmt: skip
    run = run_to_end(settings, snapshot=tasks)
    drawn = [line["reward"] for line in log(run, "reward")]
    assert np.mean(drawn[:3]) < 0.1, "a random base says the letter by chance"
    assert np.mean(drawn[-3:]) > 0.8
    (check,) = log(run, "validation_reward")
    assert check["validation_reward"] > 0.5
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert (summary["best_by"], summary["best_value"]) == ("reward", check["validation_reward"])
    assert summary["best_validation_loss"] is None


def test_an_adapter_learns_it_too(run_to_end, tasks):
    settings = rewarded(
        HAS_A, {"method": "lora"}, reinforce={"answers": 16, "max_new_tokens": 8}, max_steps=12, learning_rate=0.05
    )
    drawn = [line["reward"] for line in log(run_to_end(settings, snapshot=tasks), "reward")]
    assert np.mean(drawn[-3:]) > 3 * np.mean(drawn[:3])


def test_the_log_tells_of_the_answers(run_to_end, tasks):
    run = run_to_end(rewarded(), snapshot=tasks)
    for line in log(run, "reward"):
        assert 0 < line["reward"] < 1
        assert line["reward_spread"] > 0
        assert 1 <= line["answer_tokens"] <= 6
        assert 0 <= line["ended"] <= 1
        assert (line["even_groups"], line["ungraded"]) == (0, 0)
        assert abs(line["loss"]) < 1
    choices = {each["name"]: each for each in json.loads((run / "choices.json").read_text(encoding="utf-8"))}
    assert choices["train.objective"] == {
        "name": "train.objective", "value": "reinforce", "reason": "as set",
    }  # fmt: skip
    assert choices["train.guard.threshold"]["value"] is None
    assert "a fifth" not in choices["train.learning_rate"]["reason"]


def test_a_constant_reward_changes_nothing(run_to_end, tasks, tiny_base):
    told: list[str] = []

    class Listening(Silent):
        def say(self, text: str) -> None:
            told.append(text)

    all_alike = {"type": "string_check", "operation": "ne", "reference": "no answer is this"}
    settings = rewarded(all_alike, optimiser={"weight_decay": 0.5})
    run = run_to_end(settings, snapshot=tasks, progress=Listening())
    before = base_model(tiny_base).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in weights(run).items())
    assert [(line["even_groups"], line["loss"], line["reward"]) for line in log(run, "reward")] == [(1.0, 0.0, 1.0)] * 3
    assert sum("no answer is better than another" in text for text in told) == 3


def test_a_pull_to_the_base_works_without_a_difference(run_to_end, tasks):
    """And with one it keeps the model nearer to the base."""
    all_alike = {"type": "string_check", "operation": "ne", "reference": "no answer is this"}
    idle = run_to_end(rewarded(all_alike, regularise={"kl_to_base": 0.1}), name="idle", snapshot=tasks)
    assert all(line["tokens"] for line in log(idle, "reward")), "computed, though nothing pulls it anywhere yet"
    free, held = (
        run_to_end(rewarded(max_steps=6, regularise={"kl_to_base": pull}), name=str(pull), snapshot=tasks)
        for pull in (0.0, 20.0)
    )
    assert not same(free, held)
    base = weights(idle)
    far, near = (
        sum(float((value - base[name]).square().sum()) for name, value in weights(run).items()) for run in (free, held)
    )
    assert near < far


@pytest.mark.parametrize(
    "changed",
    [
        {"grader": HAS_A}, {"advantage": "dr-grpo"}, {"advantage": "rloo"}, {"answers": 6}, {"max_new_tokens": 3},
        {"judge": {"url": "http://127.0.0.1:9/v1"}}, {"held_out_answers": 3},
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_changes_the_run(changed, run_to_end, tasks):
    if "judge" in changed:
        asked = {"type": "score_model", "model": "m", "input": [{"role": "user", "content": "{{sample.output_text}}"}]}
        for url, words in ((changed["judge"], "the judge did not answer"), ({}, "judge.url: not set")):
            with pytest.raises((DataError, SettingsError), match=words):
                run_to_end(rewarded(asked, reinforce={"judge": url | {"tries": 1}}), snapshot=tasks)
        return
    first = run_to_end(rewarded(), name="first", snapshot=tasks)
    second = run_to_end(rewarded(changed.pop("grader", SHORT), reinforce=changed), name="second", snapshot=tasks)
    if "held_out_answers" in changed:
        assert log(first, "validation_reward")[0] != log(second, "validation_reward")[0]
    else:
        assert not same(first, second)
    assert same(first, run_to_end(rewarded(), name="again", snapshot=tasks)), "and nothing else does"


def test_other_seeds_draw_other_answers(run_to_end, tasks):
    runs = [run_to_end(replace(rewarded(max_steps=1), seed=seed), name=str(seed), snapshot=tasks) for seed in (0, 1)]
    assert len({line["answer_tokens"] for run in runs for line in log(run, "reward")}) == 2


def test_kills_draw_the_same_answers_again(tiny_base, tasks, tmp_path):
    settings = rewarded(model={"method": "lora"}, max_steps=6, checks=3, checkpoint_every=1)
    base, runs = find(str(tiny_base), tiny_base), tmp_path / ".metier" / "runs"
    whole = train(tasks, base, run=runs / "whole", settings=settings, progress=Silent())
    random, kills, status = Random(7), 0, None
    while status is None:
        child = train_in_child(tasks, base, runs / "killed", settings)
        status = killing.kill_in_save(child, runs / "killed", random) if kills < 4 else killing.wait(child)
        kills += status is None
    assert status == 0
    assert kills
    assert fingerprint(runs / "killed") == fingerprint(whole)
    rewards = [[(line["step"], line["reward"]) for line in log(run, "reward")] for run in (whole, runs / "killed")]
    assert rewards[0] == rewards[1]


def test_rows_with_answers_of_their_own_can_be_rewarded(run_to_end, tiny_snapshot):
    """The right answer is `item.reference`; a metric of answers can decide which step is the best."""
    like = {"type": "text_similarity", "evaluation_metric": "fuzzy_match"}
    run = run_to_end(rewarded(like, check={"best": "word_f1"}), snapshot=tiny_snapshot)
    assert all(0 <= line["reward"] < 1 for line in log(run, "reward"))
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["best_by"] == "word_f1"


def test_answers_that_cannot_be_graded_are_left_out(run_to_end, tasks):
    """A planted fault: the grader breaks on every second row."""
    source = "def grade(sample, item):\n    return {'a': len(sample['output_text']) / 9}[item['wanted_letter']]"
    run = run_to_end(rewarded({"type": "python", "source": source}), snapshot=tasks)
    assert {line["ungraded"] % 4 for line in log(run, "reward")} == {0}
    assert sum(line["ungraded"] for line in log(run, "reward")) > 0
    with pytest.raises(DataError, match=r"no reward for any of 16 answers .*ZeroDivisionError"):
        run_to_end(rewarded({"type": "python", "source": source.replace("{", "1 / 0 + {")}), "none", snapshot=tasks)


def test_what_a_step_is_made_of(tasks, run_to_end, monkeypatch):
    """Each sequence is a prompt with the very tokens that were drawn; together they stand for all answers."""
    seen: list[Made] = []
    honest = Rewarded.make

    def looked_at(self: Rewarded, *arguments: Any) -> Made:
        seen.append(honest(self, *arguments))
        return seen[-1]

    monkeypatch.setattr(Rewarded, "make", looked_at)
    run_to_end(rewarded(HAS_A, reinforce={"answers": 16, "max_new_tokens": 8}, max_steps=2), snapshot=tasks)
    for made in seen:
        assert 0 < len(made.sequences) < 64
        assert sum(each.target[1] for each in made.sequences) == pytest.approx(64, rel=1e-6)
        for each in made.sequences:
            (learnt,) = np.nonzero(each.weights)
            assert list(learnt) == list(range(learnt[0], len(each))), "the answer is the end"
            assert each.weights[learnt] == pytest.approx(1 / len(learnt))
            assert len(learnt) <= 8
            assert (each.ids[-1] == 2) or len(learnt) == 8, "it ended, and the stop token is learnt, or it was cut off"
            assert each.ids[learnt[0] - 1] == 5, "behind the assistant's mark"


def test_what_does_not_go_together_is_refused(run_to_end, tasks, tmp_path):
    for settings, words in (
        (plan(objective="reinforce"), "reinforce.grader: not set"),
        (plan(), "reinforce.grader: not set"),
        (rewarded({"type": "pairwise"}), "looks at two models' answers"),
        (rewarded({"type": "code", "allow": True, "k": 2}), "several answers"),
        (rewarded(model={"method": "lora", "dropout": 0.1}), "model.dropout 0.1"),
        (rewarded(learning_rate="auto"), "learning_rate auto"),
        (rewarded(regularise={"replay": 0.5}), "replay with the objective reinforce"),
        (rewarded(regularise={"neftune_alpha": 5}), "neftune_alpha with the objective reinforce"),
        (rewarded(check={"metrics": ["exact_match"]}), "exact_match on rows without an answer"),
        (rewarded({"type": "string_check", "reference": "{{ item.no }}"}), "no place 'item.no'"),
    ):
        with pytest.raises(SettingsError, match=words):
            run_to_end(settings, snapshot=tasks)
    with pytest.raises(DataError, match="32 of 32 rows cannot be asked"):
        run_to_end(rewarded(reinforce={"max_new_tokens": 250}), snapshot=tasks)
    with pytest.raises(ValueError, match="reinforce only matters with name: reinforce"):
        ObjectiveSettings.model_validate({"name": "chat", "reinforce": {"answers": 4}})
    (tmp_path / "text.jsonl").write_text('{"text": "a plain text of some length"}\n' * 3, encoding="utf-8")
    plain = prepare(
        DataSettings(train="text.jsonl"), PrepareSettings(test_share=0, validation_share=0), folder=tmp_path,
        store=tmp_path / ".metier", seed=0, progress=Silent(),
    ).path  # fmt: skip
    with pytest.raises(DataError, match=r"text\.jsonl:1: plain text; wanted: rows that ask something"):
        run_to_end(rewarded(), snapshot=plain)


@pytest.mark.parametrize("model", [{"gradient_checkpointing": True}, {"method": "prompt"}, {"method": "bottleneck"}])
def test_whatever_trains_answers_and_learns(model, run_to_end, tasks):
    """Also what the engine cannot write together, and what recomputes its activations."""
    run = run_to_end(rewarded(model=model, max_steps=2), snapshot=tasks)
    assert all(line["gradient_norm"] > 0 for line in log(run, "reward"))
