"""Faults of an endpoint, planted in a real server: each is met, counted, and never paid twice."""

import os
import signal
import subprocess
import sys
import time

import pytest

from metier.core.errors import RunError, SettingsError
from metier.prepare.synthesise.settings import BudgetSettings, TeacherSettings
from metier.prepare.synthesise.teacher import Ask, Bill, OverBudget, Teacher, _wait
from tests.prepare.synthesise.endpoint import SLOW_SECONDS
from tests.prepare.synthesise.kitchen import labelled

ASK = Ask("Below is nothing.\n<message>\nwhere is it\n</message>", "paraphrase")


def teacher(endpoint, waits=None, budget=None, **settings):
    told = TeacherSettings.model_validate({"base_url": endpoint.url, "key_variable": "TEACHER_KEY", **settings})
    bill = Bill(told, BudgetSettings.model_validate(budget or {}))
    return Teacher(told, bill, sleep=(waits if waits is not None else []).append), bill


@pytest.mark.parametrize("fault", ["500", "503", "429", "408", "malformed", "no choices", "hang up"])
def test_a_fault_that_passes_is_asked_again(endpoint, fault):
    endpoint.faults.extend([fault, fault])
    waits = []
    asking, bill = teacher(endpoint, waits)
    with asking:
        assert "Put differently" in asking.answer(ASK).text
    assert len(endpoint.asked) == bill.requests == 3
    assert (bill.tokens_in, bill.tokens_out) == (100, 20)
    assert waits == [7.0, 7.0] if fault == "429" else 0.2 < waits[0] < waits[1] < 2


def test_a_slow_answer_is_given_up_and_asked_again(endpoint):
    endpoint.faults.append("slow")
    asking, bill = teacher(endpoint, timeout_seconds=SLOW_SECONDS / 3)
    with asking:
        asking.answer(ASK)
    assert bill.requests == 2


def test_a_fault_that_stays_ends_with_what_to_do(endpoint):
    endpoint.faults.extend(["500"] * 3)
    asking, bill = teacher(endpoint, retries=2)
    with asking, pytest.raises(RunError, match=r"status 500, 3 times in a row.*pays nothing twice"):
        asking.answer(ASK)
    assert bill.requests == 3


@pytest.mark.parametrize("status", ["400", "401", "404"])
def test_a_refusal_is_not_asked_again(endpoint, status):
    endpoint.faults.append(status)
    asking, _ = teacher(endpoint)
    with asking, pytest.raises(RunError, match=f"status {status}"):
        asking.answer(ASK)
    assert len(endpoint.asked) == 1


def test_nobody_listening_is_said(endpoint):
    asking, _ = teacher(endpoint, base_url="http://127.0.0.1:9/v1", retries=1)
    with asking, pytest.raises(RunError, match="2 times in a row"):
        asking.answer(ASK)


def test_an_endpoint_must_be_named(endpoint):
    for address in (None, "ftp://x", "localhost"):
        with pytest.raises(SettingsError, match="base_url"):
            teacher(endpoint, base_url=address)


def test_key_and_sampling_are_sent(endpoint, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "k-123")
    asking, _ = teacher(endpoint, model="big", temperature=0.3, max_tokens=77)
    with asking:
        asking.answer(ASK)
        asking.answer(ASK._replace(judging=True))
    assert endpoint.headers[0]["authorization"] == "Bearer k-123"
    first, second = endpoint.asked
    assert (first["model"], first["temperature"], first["max_tokens"], second["temperature"]) == ("big", 0.3, 77, 0.0)
    monkeypatch.delenv("TEACHER_KEY")
    asking, _ = teacher(endpoint)
    with asking:
        asking.answer(ASK)
    assert "authorization" not in endpoint.headers[-1]


@pytest.mark.parametrize(
    ("budget", "settings"),
    [
        ({"requests": 2}, {}),
        ({"tokens": 260}, {"max_tokens": 16}),
        ({"money": 0.00025}, {"price_in": 1.0, "price_out": 1.0, "max_tokens": 16}),
    ],
)
def test_a_budget_stops_before_the_request_that_would_break_it(endpoint, budget, settings):
    asking, bill = teacher(endpoint, budget=budget, **settings)
    with asking:
        asking.answer(ASK)
        asking.answer(ASK._replace(sample=1))
        with pytest.raises(OverBudget):
            asking.answer(ASK._replace(sample=2))
    assert len(endpoint.asked) == bill.requests == 2


def test_waits_are_read_as_seconds_or_dates():
    assert _wait("3") == 3
    assert _wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert _wait("soon") is None
    assert _wait(None) is None


def test_a_spent_budget_leaves_what_was_made_and_goes_on_later(pantry):
    first = pantry.make(rows=10, closest=1.0, budget={"requests": 4}, teacher={"concurrency": 1})
    assert first.stopped == "the budget is spent"
    assert len(first.kept) == 4 == len(pantry.endpoint.asked)
    second = pantry.make(rows=10, closest=1.0, teacher={"concurrency": 1})
    assert (len(second.kept), len(pantry.endpoint.asked)) == (10, 10)
    assert second.bill.requests == 10
    third = pantry.make(rows=10, closest=1.0)
    assert len(pantry.endpoint.asked) == 10
    assert third.output.read_bytes() == second.output.read_bytes()


def test_requests_go_side_by_side(pantry):
    pantry.endpoint.delay = 1.0
    started = time.monotonic()
    pantry.make(rows=16, teacher={"concurrency": 16})
    assert time.monotonic() - started < 12.0


def test_an_answer_that_was_cut_off_is_dropped(pantry):
    pantry.endpoint.faults.append("truncated")
    result = pantry.make(rows=4, closest=1.0)
    assert result.reasons == {"answer cut off": 1}


def test_the_estimate_is_told_before_anything_is_asked(pantry):
    result = pantry.make(rows=30, teacher={"price_in": 1.0, "price_out": 2.0})
    estimate = pantry.confirmed
    assert estimate.requests == estimate.rows == 30
    assert 0.3 < estimate.tokens_in / sum(len(prompt) / 4 for prompt in pantry.endpoint.prompts) < 3
    assert estimate.money == pytest.approx((estimate.tokens_in + 2 * estimate.tokens_out) / 1e6)
    assert result.bill.money == pytest.approx(30 * (100 + 2 * 20) / 1e6)


RUN = """
import sys
from metier.cli.app import main
sys.argv = ["metier", "synthesise", "--yes", "--project", sys.argv[1]]
main()
"""


def test_a_killed_run_pays_nothing_twice(pantry):
    """Killed with SIGKILL in the middle: only what was under way at that moment may be asked again."""
    folder, endpoint = pantry.workshop.folder, pantry.endpoint
    pantry.workshop.lines("rows.jsonl", labelled())
    (folder / "metier.yaml").write_text(
        "base: metier-tiny\ndata: rows.jsonl\nprepare:\n  further:\n    synthesise:\n"
        "      rows: 24\n      closest: 1.0\n"
        f'      teacher: {{concurrency: 3, base_url: "{endpoint.url}"}}\n', encoding="utf-8",
    )  # fmt: skip
    endpoint.delay = 0.1
    command = [sys.executable, "-c", RUN, str(folder)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len(endpoint.asked) < 9 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    before = len(endpoint.asked)
    assert before < 24
    assert not (folder / "data" / "synthetic.jsonl").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 24 <= len(endpoint.asked) <= 24 + 3
    assert len((folder / "data" / "synthetic.jsonl").read_text(encoding="utf-8").splitlines()) == 24
