"""What every answer of a rollout must be: a few words, or a grader; and canaries that are decided on it."""

import time
from pathlib import Path
from typing import Any

import pytest

from metier.core.errors import InputError
from metier.serve.audit import Audit
from metier.serve.database import connect
from metier.serve.rollouts.book import Rollout, Rollouts
from metier.serve.rollouts.checks import check_of
from metier.serve.rollouts.overseer import Overseer
from metier.serve.rollouts.rules import CANDIDATE, STABLE, decide
from metier.serve.traces import Recorder, Trace
from tests.serve.test_rollouts import started


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [("json", '{"a": 1}', "a"), ("one_of:card, loan", " card\n", "card."), (r"matches:\d+ EUR", "12 EUR", "12 EUR.")],
)
def test_checks_of_answers(check: str, good: str, bad: str) -> None:
    assert check_of(check).passes(good)
    assert not check_of(check).passes(bad)


@pytest.mark.parametrize("check", ["", "xml", "one_of:", "matches:", "matches:(", "json:x"])
def test_a_check_that_is_none_is_refused(check: str) -> None:
    with pytest.raises(InputError, match=r"one_of|regular expression"):
        check_of(check)


GREETING = {"type": "string_check", "operation": "ilike", "reference": "kind regards"}
LIKE = {
    "type": "text_similarity",
    "evaluation_metric": "fuzzy_match",
    "reference": "Kind regards",
    "pass_threshold": 0.8,
}


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (GREETING, "Done.\nKind Regards, Ann", "Done."),
        (GREETING | {"operation": "ne", "reference": "card"}, "loan", "card"),
        (GREETING | {"input": "{{ sample.output_json.end }}"}, '{"end": "Kind regards"}', "Kind regards"),
        (LIKE, "kind regard", "Your card is gone."),
        (LIKE | {"evaluation_metric": "rouge_l"}, "Kind regards", "Your card"),
        (LIKE | {"evaluation_metric": "bleu", "reference": "we send a card"}, "we send a card", "no"),
        ({"type": "style", "most_words": 3, "forbidden": ["sorry"]}, "a b c", "a b c d"),
        ({"type": "style", "patterns": ["[0-9]"]}, "room 4", "room four"),
    ],
)
def test_graders_are_checks(check: dict[str, Any], good: str, bad: str) -> None:
    read = check_of(check)
    assert read.passes(good)
    assert not read.passes(bad)
    assert not read.passes(good + " " * 5 + "x" * 20_000)


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"type": "string_check"}, "no row stands behind"),
        (GREETING | {"input": "{{ item.prompt }}"}, "no row stands behind"),
        (GREETING | {"operation": "near"}, "check.*operation"),
        (LIKE | {"pass_threshold": None}, "without pass_threshold"),
        ({"type": "style", "patterns": ["("]}, "pattern"),
        ({"type": "score_model", "input": []}, "string_check, text_similarity, style"),
        ({}, "string_check"),
    ],
)
def test_a_grader_that_cannot_look_at_an_answer_alone_is_refused(check: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_of(check)


@pytest.mark.parametrize(
    ("good", "bad", "state"), [(95, 5, "promoted"), (60, 40, "rolled back"), (100, 0, "promoted"), (0, 0, "running")]
)
def test_a_canary_is_decided_by_a_grader(tmp_path: Path, good: int, bad: int, state: str) -> None:
    """Planted faults: a candidate that leaves the greeting out, and a pair of which neither ever writes it."""
    _, rollout = started(tmp_path, check=GREETING, steps=(0.5,), least=50, margin=0.15)
    with_it, without = "Done. Kind regards, Ann", "Done. Bye"
    recorder = Recorder(connect(tmp_path))
    for arm, shares in ((STABLE, (95, 5) if good else (0, 100)), (CANDIDATE, (good, bad) if good else (0, 100))):
        for number, said in enumerate((with_it,) * 6 * shares[0] + (without,) * 6 * shares[1]):
            recorder.trace(written(f"{arm}{number}", rollout, arm), check=rollout.check, said=(said,))
    recorder.close()
    again = Rollouts(connect(tmp_path), tmp_path)
    Overseer(again, Audit(connect(tmp_path), tmp_path), lambda name: True).look()
    found = again.of("production")
    assert found is not None
    assert found.state == state
    assert again.counts(rollout.id)["check"][CANDIDATE] == (6 * good, 600)
    if not good:
        assert "says nothing" in decide(rollout.rules, 0, again.counts(rollout.id)).reason


def written(id: str, rollout: Rollout, arm: str) -> Trace:
    """Return the trace of an answer that ended well."""
    return Trace(
        id=id, time=time.time(), route="chat", caller="ann", user="", asked=rollout.alias, model=rollout.model(arm),
        base="", digest="", prompt_tokens=1, cached_tokens=0, completion_tokens=1, first_token_ms=1.0, total_ms=1.0,
        finish="stop", rollout=rollout.id, arm=arm,
    )  # fmt: skip
