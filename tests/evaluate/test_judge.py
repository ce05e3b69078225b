"""Judges behind a real local server: honest ones, and those that must be found out."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from metier.core.errors import DataError, SettingsError
from metier.core.progress import Silent
from metier.evaluate.graded import graded, unreliable
from metier.evaluate.graders.grade import Grading, grade
from metier.evaluate.questions import Question
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.summary import summarise
from metier.score.graders.settings import Grader, JudgeSettings
from tests.evaluate.conftest import side
from tests.evaluate.test_graders import at

Ask = Callable[..., tuple[Question, ...]]
Words = Callable[[dict[str, Any]], str]


@contextmanager
def serving(say: Words, status: Callable[[int], int] = lambda count: 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real endpoint on this machine: its address, and every request that it got."""
    seen: list[dict[str, Any]] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body | {"path": self.path, "key": self.headers.get("Authorization")})
            code = status(len(seen))
            content = {"choices": [{"message": {"role": "assistant", "content": say(body)}}]}
            data = json.dumps(content).encode()
            self.send_response(code)
            if code in (301, 302):
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answers(body: dict[str, Any]) -> tuple[str, str]:
    """The two answers that a pairwise judge is shown."""
    text = body["messages"][0]["content"]
    return tuple(re.search(rf"<{name}>\n(.*?)\n</{name}>", text, re.DOTALL).group(1) for name in ("first", "second"))  # type: ignore[return-value,union-attr]


def longer(body: dict[str, Any]) -> str:
    """Judge honestly: the longer answer is better."""
    first, second = answers(body)
    return "tie" if len(first) == len(second) else "first" if len(first) > len(second) else "second"


def ask_judge(
    ask: Ask, grader: dict[str, Any], url: str, base: Sequence[str], tuned: Sequence[str], **more: Any
) -> Grading:
    settings = JudgeSettings.model_validate({"url": url, "model": "judge-1", "tries": 2, "seconds": 5} | more)
    return grade(
        ask(["right"] * len(base)), (base, tuned), [TypeAdapter(Grader).validate_python(grader)],
        judge_settings=settings, where=at(Path()), progress=Silent(),
    )  # fmt: skip


def test_a_pairwise_judge_is_asked_in_both_orders(ask: Ask) -> None:
    with serving(longer) as (url, seen):
        found = ask_judge(ask, {"type": "pairwise"}, url, ["ab"] * 30, ["abcd"] * 20 + ["a"] * 5 + ["xy"] * 5)
    (pair,) = found.tables.values()
    assert (pair[0][:, 0].sum(), pair[1][:, 0].sum()) == (7.5, 22.5)
    facts = found.judges["pairwise"]
    assert (facts["contradictions"], facts["ties"], facts["judge"], facts["refusal"]) == (0, 5, "judge-1", "")
    assert facts["first_share"]["value"] == 0.5
    assert len(seen) == 60
    assert {request["path"] for request in seen} == {"/v1/chat/completions"}
    assert {request["temperature"] for request in seen} == {0}


def test_a_judge_that_prefers_the_first_answer_is_found_out_and_not_believed(ask: Ask) -> None:
    """A planted fault: whatever is shown first wins."""
    base, tuned = ["worse"] * 100, ["much better"] * 100
    with serving(lambda body: "first") as (url, _):
        found = ask_judge(ask, {"type": "pairwise"}, url, base, tuned)
        settings = EvaluateSettings.model_validate(
            {
                "resampling": {"samples": 200}, "metric": "pairwise", "graders": [{"type": "pairwise"}],
                "judge": {"url": url, "model": "judge-1"},
            }
        )  # fmt: skip
        sides, grading = graded(
            ask(["right"] * 100), (side("base", base), side("tuned", tuned)), settings,
            where=at(Path()), progress=Silent(),
        )  # fmt: skip
    facts = found.judges["pairwise"]
    assert facts["first_share"]["value"] == 1.0
    assert facts["contradictions"] == 100
    assert "prefers the answer shown first (100 of 100 judgements" in facts["refusal"]
    verdict = summarise(ask(["right"] * 100), *sides, settings, unreliable=unreliable(grading))["verdict"]
    assert (verdict["verdict"], verdict["p"]) == ("cannot tell", None)
    assert "prefers the answer shown first" in verdict["reason"]


def test_a_leaning_that_does_not_turn_judgements_round_is_reported_but_believed(ask: Ask) -> None:
    def mostly(body: dict[str, Any]) -> str:
        return "first" if "equal" in answers(body)[0] else longer(body)

    with serving(mostly) as (url, _):
        found = ask_judge(ask, {"type": "pairwise"}, url, ["ab"] * 90 + ["equal"] * 10, ["abc"] * 90 + ["equal"] * 10)
    facts = found.judges["pairwise"]
    assert facts["contradictions"] == 10
    assert facts["refusal"] == ""


def test_agreement_with_people(ask: Ask, tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.jsonl"
    lines = [{"source": f"rows.jsonl:{n + 1}", "winner": "tuned" if n < 8 else "base"} for n in range(10)]
    ratings.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with serving(longer) as (url, _):
        grader = {"type": "pairwise", "ratings": str(ratings), "criteria": "Which is longer?", "name": "length"}
        found = ask_judge(ask, grader, url, ["ab"] * 12, ["abc"] * 9 + ["a"] * 3)
    agreement = found.judges["length"]["agreement"]
    assert agreement["rows"] == 10
    assert agreement["share"]["value"] == 0.9
    assert agreement["kappa"] == pytest.approx((0.9 - (0.8 * 0.9 + 0.2 * 0.1)) / (1 - (0.8 * 0.9 + 0.2 * 0.1)))
    ratings.write_text('{"source": "rows.jsonl:1", "winner": "me"}\n', encoding="utf-8")
    with serving(longer) as (url, _), pytest.raises(DataError, match=r"ratings.jsonl:1: winner 'me'"):
        ask_judge(ask, grader, url, ["ab"], ["abc"])


def test_score_and_label_models(ask: Ask) -> None:
    asked = [{"role": "user", "content": "Grade {{ sample.output_text }} against {{ item.reference }}."}]
    score = {"type": "score_model", "model": "other", "input": asked, "range": [1, 5], "sampling_params": {"seed": 7}}
    with serving(lambda body: "Reasons: 2 of them.\n4") as (url, seen):
        found = ask_judge(ask, score, url, ["a"], ["b"])
    assert [table[0, 0] for table in found.tables["graded/mean/score_model"]] == [0.75, 0.75]
    assert seen[0]["model"] == "other"
    assert seen[0]["seed"] == 7
    assert seen[0]["messages"][0]["content"] == "Grade a against right."
    with serving(lambda body: "4") as (url, _):
        found = ask_judge(ask, score | {"pass_threshold": 4.5}, url, ["a"], ["b"])
    assert [table[0, 0] for table in found.tables["graded/mean/score_model"]] == [0, 0]
    label = {"type": "label_model", "input": asked, "labels": ["good", "bad"], "passing_labels": ["good"]}
    with serving(lambda body: "It is Good." if "Grade b" in body["messages"][0]["content"] else "bad") as (url, _):
        found = ask_judge(ask, label, url, ["a"], ["b"])
    assert [table[0, 0] for table in found.tables["graded/mean/label_model"]] == [0, 1]


def test_a_judge_that_fails_is_asked_again_and_a_row_without_judgement_counts_for_neither(ask: Ask) -> None:
    with serving(longer, status=lambda count: 500 if count == 1 else 200) as (url, seen):
        found = ask_judge(ask, {"type": "pairwise"}, url, ["a"], ["ab"], at_once=1)
    assert found.faults == ()
    assert len(seen) == 3
    with serving(lambda body: "I would rather not say") as (url, _):
        found = ask_judge(ask, {"type": "pairwise"}, url, ["a", "b"], ["ab", "b"])
    assert len(found.faults) == 2
    assert "cannot be read: 'I would rather" in found.faults[0]["why"]
    (pair,) = found.tables.values()
    assert not pair[0].any()


def test_a_judge_that_sends_us_elsewhere_is_not_followed(ask: Ask) -> None:
    with serving(longer, status=lambda count: 302) as (url, _):
        found = ask_judge(ask, {"type": "pairwise"}, url, ["a"], ["ab"])
    assert "did not answer (HTTPError" in found.faults[0]["why"]


def test_the_key_comes_from_the_environment(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "abc")
    with serving(longer) as (url, seen):
        ask_judge(ask, {"type": "pairwise"}, url, ["a"], ["ab"], key_variable="MY_KEY")
        ask_judge(ask, {"type": "pairwise"}, url, ["a"], ["ab"], key_variable="")
    assert [request["key"] for request in seen] == ["Bearer abc", "Bearer abc", None, None]


@pytest.mark.parametrize(
    ("url", "model", "words"),
    [
        (None, "m", r"judge\.url: not set"),
        ("http://127.0.0.1:9/v1", None, r"judge\.model: not set"),
        ("ftp://x", "m", "http://"),
    ],
)
def test_no_judge_no_model_no_address(ask: Ask, url: str | None, model: str | None, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ask_judge(ask, {"type": "pairwise"}, url, ["a"], ["b"], model=model)
