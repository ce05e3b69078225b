"""Rollouts: who answers whom, what is decided, and that it is decided on what answers were worth."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from typer.testing import CliRunner

from metier.cli.app import app
from metier.core.errors import InputError
from metier.serve.audit import Audit
from metier.serve.database import connect
from metier.serve.rollouts.book import Rollout, Rollouts, place, wanted_of
from metier.serve.rollouts.overseer import Overseer
from metier.serve.rollouts.rules import CANDIDATE, STABLE, Rules, decide
from metier.serve.settings import RolloutSettings
from metier.serve.tables import FEEDBACK, JOBS, TRACES
from metier.text import targets
from tests.serve.workshop import MODEL, Shop, application

HERE = {"host": "localhost"}


def started(folder: Path, **chosen: Any) -> tuple[Rollouts, Rollout]:
    rollouts = Rollouts(connect(folder), folder)
    return rollouts, rollouts.start(wanted_of(RolloutSettings(**chosen), "production", ("old", "new")))


def judged(folder: Path, rollout: str, arm: str, *, good: int, bad: int) -> None:
    """Plant requests of an arm, each with a thumb of whoever asked."""
    now = f"{arm}{time.monotonic_ns()}"
    rows = [
        {"id": f"{now}{n}", "rollout": rollout, "arm": arm, "caller": "ann", "finish": "stop"}
        for n in range(good + bad)
    ]
    told = [{"trace": row["id"], "caller": "ann", "thumbs": "up" if n < good else "down"} for n, row in enumerate(rows)]
    with connect(folder).begin() as connection:
        connection.execute(TRACES.insert(), rows)
        connection.execute(FEEDBACK.insert(), told)


@settings(deadline=None)
@given(some.text(max_size=20), some.floats(0.01, 0.98), some.floats(0.0, 0.02))
def test_who_was_answered_by_the_candidate_stays_with_it_when_its_share_grows(
    key: str, share: float, more: float
) -> None:
    small = Rollout(id="r", alias="a", kind="split", stable="x", candidate="y", share=share)
    large = Rollout(id="r", alias="a", kind="split", stable="x", candidate="y", share=share + more)
    assert small.arm(key) == small.arm(key)
    if small.arm(key) == CANDIDATE:
        assert large.arm(key) == CANDIDATE


def test_the_share_is_the_share_and_differs_from_rollout_to_rollout() -> None:
    places = np.array([[place(name, f"user {n}") for n in range(4000)] for name in ("one", "two")])
    assert np.abs((places < 0.2).mean(axis=1) - 0.2).max() < 0.02
    assert abs(np.corrcoef(places)[0, 1]) < 0.05


def test_a_candidate_is_promoted_on_quality_only() -> None:
    rules = Rules(steps=(0.5,), least=10, margin=0.1)
    fine = {"answered": {STABLE: (5000, 5000), CANDIDATE: (5000, 5000)}}
    assert decide(rules, 0, fine).move == "stay"
    liked = fine | {"feedback": {STABLE: (900, 1000), CANDIDATE: (910, 1000)}}
    assert decide(rules, 0, liked).move == "promote"
    few = fine | {"feedback": {STABLE: (9, 10), CANDIDATE: (10, 10)}}
    assert "may still be" in decide(rules, 0, few).reason
    mixed = liked | {"check": {STABLE: (990, 1000), CANDIDATE: (700, 1000)}}
    assert decide(rules, 0, mixed).move == "roll back"
    failing = fine | {"answered": {STABLE: (1000, 1000), CANDIDATE: (600, 1000)}}
    assert decide(rules, 0, failing).move == "roll back"
    steps = Rules(steps=(0.1, 0.5), least=10, margin=0.1)
    assert decide(steps, 0, few).move == "step"
    assert decide(steps, 1, few).move == "stay"
    doubtful = fine | {"feedback": {STABLE: (10, 10), CANDIDATE: (7, 10)}}
    assert "chance" in decide(steps, 0, doubtful).reason


def test_a_check_that_nobody_passes_promotes_nobody() -> None:
    """Planted fault: vectors and decisions counted as answers without text, and 0 of 900 is no worse than 0 of 900."""
    rules = Rules(steps=(0.5,), least=10, margin=0.1)
    nothing = {"check": {STABLE: (0, 900), CANDIDATE: (0, 900)}}
    for step in (0, 1):
        assert decide(Rules(steps=(0.1, 0.5), least=10), step, nothing).move == "stay"
    assert "says nothing" in decide(rules, 0, nothing).reason
    liked = nothing | {"feedback": {STABLE: (900, 1000), CANDIDATE: (910, 1000)}}
    assert decide(rules, 0, liked).move == "promote"
    assert decide(rules, 0, {"check": {STABLE: (900, 900), CANDIDATE: (0, 900)}}).move == "roll back"
    assert decide(rules, 0, {"check": {STABLE: (0, 900), CANDIDATE: (900, 900)}}).move == "promote"


def outcome(stable: float, candidate: float, seed: int, rules: Rules) -> str:
    """Return how a canary ends whose answers are liked with these chances."""
    random, step, counts = np.random.default_rng(seed), 0, {STABLE: [0, 0], CANDIDATE: [0, 0]}
    for _ in range(300):
        for arm, chance in ((STABLE, stable), (CANDIDATE, candidate)):
            counts[arm][0] += int(random.binomial(10, chance))
            counts[arm][1] += 10
        decision = decide(rules, step, {"feedback": {arm: (count[0], count[1]) for arm, count in counts.items()}})
        if decision.move in ("promote", "roll back"):
            return decision.move
        step += decision.move == "step"
    return "stay"


def test_looking_again_and_again_hardly_ever_decides_wrongly() -> None:
    rules = Rules(steps=(0.05, 0.25), least=50, margin=0.1)
    same = [outcome(0.85, 0.85, seed, rules) for seed in range(40)]
    worse = [outcome(0.85, 0.6, seed, rules) for seed in range(40)]
    assert same.count("promote") >= 38
    assert worse.count("roll back") >= 38
    assert worse.count("promote") == 0


def test_a_canary_goes_on_step_by_step_to_the_end_and_survives_restarts(tmp_path: Path) -> None:
    _, rollout = started(tmp_path, steps=(0.1, 0.5), least=20, margin=0.1)
    audit = Audit(connect(tmp_path), tmp_path)

    def look() -> Rollout:
        again = Rollouts(connect(tmp_path), tmp_path)
        Overseer(again, audit, lambda name: True).look()
        found = again.of("production")
        assert found is not None
        return found

    assert (look().state, look().share) == ("running", 0.1)
    judged(tmp_path, rollout.id, STABLE, good=400, bad=40)
    judged(tmp_path, rollout.id, CANDIDATE, good=19, bad=1)
    assert (look().step, look().share) == (1, 0.5)
    judged(tmp_path, rollout.id, CANDIDATE, good=400, bad=30)
    assert look().state == "promoted"
    ended = look()
    assert ended.arm("anybody") == CANDIDATE
    assert "feedback" in ended.reason
    assert [line["action"] for line in audit.lines(9)] == ["promote production", "step production"]


def test_a_worse_candidate_goes_back_and_so_does_one_that_is_gone(tmp_path: Path) -> None:
    rollouts, rollout = started(tmp_path, least=20)
    judged(tmp_path, rollout.id, STABLE, good=300, bad=20)
    judged(tmp_path, rollout.id, CANDIDATE, good=30, bad=60)
    overseer = Overseer(rollouts, Audit(connect(tmp_path), tmp_path), lambda name: name != "gone")
    overseer.look()
    found = rollouts.of("production")
    assert found is not None
    assert (found.state, found.arm("anybody")) == ("rolled back", STABLE)
    rollouts.start(wanted_of(RolloutSettings(), "production", ("old", "gone")))
    overseer.look()
    assert (rollouts.of("production") or found).reason == "gone is not served any more"


def test_only_the_last_word_of_who_asked_counts(tmp_path: Path) -> None:
    rollouts, rollout = started(tmp_path)
    judged(tmp_path, rollout.id, CANDIDATE, good=1, bad=0)
    with connect(tmp_path).connect() as connection:
        id = connection.execute(TRACES.select()).one().id

    def said(**values: Any) -> Any:
        with connect(tmp_path).begin() as connection:
            connection.execute(FEEDBACK.insert().values(trace=id, **values))
        return rollouts.counts(rollout.id)["feedback"]

    assert said(caller="bob", thumbs="down") == {CANDIDATE: (1, 1)}
    assert said(caller="ann", comment="hm") == {CANDIDATE: (1, 1)}
    assert said(caller="ann", score=0.4) == {CANDIDATE: (0, 1)}
    assert said(caller="ann", score=0.5) == {CANDIDATE: (1, 1)}
    assert said(caller="ann", correction="card") == {CANDIDATE: (0, 1)}


def chat(client: Any, model: str, **options: Any) -> Any:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "my card number 7"}],
        "max_tokens": 4,
        "temperature": 0,
    }
    return client.post("/v1/chat/completions", json=body | options, headers=HERE)


def test_users_are_divided_and_answers_beside_are_recorded(shop: Shop, tmp_path: Path) -> None:
    start = {"alias": "production", "stable": MODEL, "candidate": shop.runs["first"], "kind": "split", "share": 0.5}
    with application(shop, store=tmp_path, rollouts={"check": "one_of:card,loan"}) as client:
        assert client.post("/v1/rollouts", json=start | {"candidate": "nobody"}, headers=HERE).status_code == 404
        assert client.post("/v1/rollouts", json=start | {"alias": MODEL}, headers=HERE).status_code == 400
        assert client.post("/v1/rollouts", json=start, headers=HERE).json()["state"] == "running"
        assert "one is running" in client.post("/v1/rollouts", json=start, headers=HERE).json()["error"]["message"]
        for number in range(12):
            assert chat(client, "production", user=f"user {number}").json()["model"] == "production"
        assert "production" in [model["id"] for model in client.get("/v1/models", headers=HERE).json()["data"]]
        end = client.post("/v1/rollouts/production/end", json={"state": "promoted"}, headers=HERE)
        assert end.json()["state"] == "promoted"
        assert client.post("/v1/rollouts/production/end", json={"state": "stopped"}, headers=HERE).status_code == 400
        assert chat(client, "production", user="user 1").status_code == 200
        beside = start | {"alias": "quiet", "kind": "shadow", "share": 1.0}
        assert client.post("/v1/rollouts", json=beside, headers=HERE).status_code == 200
        heard = chat(client, "quiet").json()["choices"][0]["message"]["content"]
        assert heard == chat(client, MODEL).json()["choices"][0]["message"]["content"]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            told = client.get("/v1/rollouts/quiet", headers=HERE).json()
            if told["beside"]["total"]:
                break
            time.sleep(0.1)
        assert told["beside"]["total"] == 1
        assert 'metier_rollout_requests_total{alias="quiet",arm="shadow"' in client.get("/metrics", headers=HERE).text
    with connect(tmp_path).connect() as connection:
        rows = connection.execute(TRACES.select().where(TRACES.c.rollout != "")).all()
    divided = [row for row in rows if row.asked == "production"]
    assert {row.arm for row in divided} == {STABLE, CANDIDATE}
    assert {row.model for row in divided if row.arm == CANDIDATE} == {shop.runs["first"]}
    assert all(row.passed in (0, 1) and row.answer is None for row in rows)
    (shadow,) = [row for row in rows if row.arm == "shadow"]
    assert shadow.beside in {row.id for row in rows}


CHOICE = {"type": "choice", "instructions": "", "choices": [{"value": "card"}, {"value": "loan"}]}
LEVELS = {"type": "score", "instructions": "", "levels": [{"label": "low"}, {"label": "high"}]}


def decide_over_http(client: Any, model: str, *questions: dict[str, Any]) -> Any:
    asked = {"model": model, "input": "my card number 7", "questions": questions}
    return client.post("/v1/decisions", json=asked, headers=HERE)


def checked(folder: Path) -> dict[tuple[str, str], list[int | None]]:
    """Return what the check said of each route's answers, in their order, by the route and who answered."""
    found: dict[tuple[str, str], list[int | None]] = {}
    with connect(folder).connect() as connection:
        for row in connection.execute(TRACES.select().order_by(TRACES.c.time)).all():
            found.setdefault((row.route, row.arm), []).append(row.passed)
    return found


@pytest.mark.parametrize(
    ("check", "chosen", "both", "levels"),
    [("one_of:card,loan", 1, 1, 0), ("matches:.*", 1, 1, 1), ("json", None, None, None)],
)
def test_a_check_is_of_what_was_decided_and_of_no_vector(
    shop: Shop, tmp_path: Path, check: str, chosen: int | None, both: int | None, levels: int | None
) -> None:
    start = {"alias": "production", "stable": MODEL, "candidate": shop.runs["first"], "kind": "split", "share": 1e-9}
    with application(shop, store=tmp_path, rollouts={"check": check}) as client:
        assert client.post("/v1/rollouts", json=start, headers=HERE).status_code == 200
        for questions in ([CHOICE], [CHOICE, CHOICE], [CHOICE, LEVELS]):
            assert decide_over_http(client, "production", *questions).status_code == 200
        assert decide_over_http(client, "production", CHOICE | {"choices": [{"value": "card"}] * 2}).status_code == 400
        embedded = client.post("/v1/embeddings", json={"model": "production", "input": "card"}, headers=HERE)
        assert embedded.status_code == 200
        assert client.post("/v1/rollouts/production/end", json={"state": "promoted"}, headers=HERE).status_code == 200
        assert decide_over_http(client, "production", CHOICE).status_code == 200
    assert checked(tmp_path) == {
        ("decisions", STABLE): [chosen, both, levels, None],
        ("embeddings", STABLE): [None],
        ("decisions", CANDIDATE): [chosen],
    }


def test_decisions_and_vectors_are_answered_beside_too(shop: Shop, tmp_path: Path) -> None:
    """Planted fault: a shadow rollout of them was taken and never answered."""
    candidate = shop.runs["first"]
    start = {"alias": "quiet", "stable": MODEL, "candidate": candidate, "kind": "shadow", "share": 1.0}
    with application(shop, store=tmp_path) as client:
        assert client.post("/v1/rollouts", json=start, headers=HERE).status_code == 200
        chosen, vectors = {}, {}
        for model in ("quiet", MODEL, candidate):
            chosen[model] = decide_over_http(client, model, CHOICE).json()["answers"][0]["choice"]
            texts = {"model": model, "input": ["my card number 7", "my loan number 3"]}
            found = client.post("/v1/embeddings", json=texts, headers=HERE).json()["data"]
            vectors[model] = np.array([each["embedding"] for each in found])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            told = client.get("/v1/rollouts/quiet", headers=HERE).json()
            if told["beside"]["total"] == 2:
                break
            time.sleep(0.1)
        assert told["beside"]["total"] == 2
    with connect(tmp_path).connect() as connection:
        rows = {row.route: row for row in connection.execute(TRACES.select().where(TRACES.c.arm == "shadow")).all()}
    assert {row.model for row in rows.values()} == {candidate}
    assert chosen["quiet"] == chosen[MODEL]
    assert rows["decisions"].agrees == (chosen[candidate] == chosen[MODEL])
    assert rows["embeddings"].agrees == bool((vectors[candidate] * vectors[MODEL]).sum(axis=1).min() >= 0.99)


def test_a_head_and_a_model_that_writes_cannot_stand_for_one_another(shop: Shop, tmp_path: Path) -> None:
    """Planted fault: a canary between them was taken, and every chat that fell to the head was refused."""
    head = shop.runs["head"]
    with application(shop, store=shop.store) as client:
        for models in ((MODEL, head), (head, shop.runs["first"])):
            start = {"alias": "mixed", "stable": models[0], "candidate": models[1], "kind": "shadow"}
            answer = client.post("/v1/rollouts", json=start, headers=HERE)
            assert answer.status_code == 400
            assert f"{head} has a head (classify) and writes none" in answer.json()["error"]["message"]
        assert client.get("/v1/rollouts/mixed", headers=HERE).status_code == 404
    between = ["rollout", "mixed", "--between", MODEL, head, "--project", str(shop.folder)]
    assert "has a head" in str(CliRunner().invoke(app, between).exception)
    for name, kind in (("one", "classify"), ("two", "classify"), ("three", "regress")):
        (tmp_path / "runs" / name / "model").mkdir(parents=True)
        targets.write(targets.Targets(kind=kind, labels=("a", "b")), tmp_path / "runs" / name / "model")
    rollouts = Rollouts(connect(tmp_path), tmp_path)
    with connect(tmp_path).begin() as connection:
        named = {"id": "ftjob-1", "status": "succeeded", "model": "ft:one", "run": str(tmp_path / "runs" / "one")}
        connection.execute(JOBS.insert().values(named))
    for stable, candidate in (("ft:one", "three"), ("two", "ft:other"), ("two", "three")):
        with pytest.raises(InputError, match="of one kind"):
            rollouts.start(wanted_of(RolloutSettings(), "production", (stable, candidate)))
    assert rollouts.start(wanted_of(RolloutSettings(), "production", ("ft:one", "two"))).state == "running"


def test_the_command_starts_shows_and_ends_one(shop: Shop) -> None:
    run, here, first = CliRunner(), ["--project", str(shop.folder)], shop.runs["first"]
    between = ["rollout", "commanded", *here, "--serve.rollouts.kind=split", "--between"]
    assert isinstance(run.invoke(app, ["rollout", "commanded", *here]).exception, InputError)
    begun = run.invoke(app, [*between, MODEL, first])
    assert begun.output.splitlines()[:2] == [f"commanded: split of {first} beside {MODEL}, running", "share: 10%"]
    assert "rolled back" in run.invoke(app, ["rollout", "commanded", "--end", "back", *here]).output
    assert isinstance(run.invoke(app, ["rollout", "commanded", "--end", "stop", *here]).exception, InputError)


def test_the_command_begins_none_between_what_nobody_serves(shop: Shop) -> None:
    """Planted fault: a misspelt candidate was said to be running, and the server ended the rollout at once."""
    run, here, first = CliRunner(), ["--project", str(shop.folder)], shop.runs["first"]
    for models in ((MODEL, "first-run"), ("metier-tyni", first)):
        refused = run.invoke(app, ["rollout", "misspelt", "--between", *models, *here]).exception
        assert isinstance(refused, InputError)
        assert "is not served here" in str(refused)
        assert first in refused.wanted
    taken = run.invoke(app, ["rollout", first, "--between", MODEL, shop.runs["second"], *here]).exception
    assert "a model is called so" in str(taken)
    assert isinstance(run.invoke(app, ["rollout", "misspelt", *here]).exception, InputError)
