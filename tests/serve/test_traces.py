"""What is recorded, what is taken out of it, how long it stays, and that no request ever waits for it."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import given, settings
from hypothesis import strategies as some

from metier.core.errors import InputError
from metier.serve.database import connect
from metier.serve.redact import Redactor
from metier.serve.settings import PriceSettings, RecordSettings, RolloutSettings, ServeSettings
from metier.serve.spans import Spans
from metier.serve.tables import FEEDBACK, ROLLOUTS, TRACES
from metier.serve.traces import Recorder, Trace
from tests.serve.workshop import MODEL, Shop, application

DAY = 86_400
STATED = 2000
"""Traces a second that are recorded without loss."""


def trace(id: str = "chatcmpl-1", **changes: Any) -> Trace:
    values: dict[str, Any] = {
        "id": id, "time": time.time(), "route": "chat", "caller": "k", "user": "ann", "asked": "production",
        "model": "new", "base": "small", "digest": "d", "prompt_tokens": 10, "cached_tokens": 4,
        "completion_tokens": 2, "first_token_ms": 3.0, "total_ms": 8.0, "finish": "stop",
    }  # fmt: skip
    return Trace(**values | changes)


def kept(folder: Path, table: sql.Table = TRACES) -> list[Any]:
    with connect(folder).connect() as connection:
        return list(connection.execute(sql.select(table)).all())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mail ann.lee+x@mail.example.co.uk now", "mail <email> now"),
        ("card 4111 1111 1111 1111.", "card <card>."),
        ("card 4111 1111 1111 1112.", "card 4111 1111 1111 1112."),
        ("to DE89 3704 0044 0532 0130 00 please", "to <iban> please"),
        ("to DE88 3704 1144 1532 1130 11 please", "to DE88 3704 1144 1532 1130 11 please"),
        ("call +44 20 7946 0958 today", "call <phone> today"),
        ("order 20261121 of 12.50", "order 20261121 of 12.50"),
        ("from 192.168.17.4:80", "from <address>:80"),
        ("key sk-abcdefghijklmnop1234 and mk-abcdefghijklmnopqrst", "key <secret> and <secret>"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- end", "<secret> end"),
        ("ticket T-4711", "ticket <redacted>"),
    ],
)
def test_what_must_not_be_kept_is_taken_out_and_nothing_else(text: str, found: str) -> None:
    assert Redactor(known=True, patterns=[r"T-\d+"])(text) == found
    if "T-" not in text:
        assert Redactor(known=False)(text) == text


@settings(deadline=None)
@given(some.text(max_size=200))
def test_taking_out_twice_takes_out_no_more(text: str) -> None:
    redactor = Redactor(known=True)
    assert redactor(redactor(text)) == redactor(text)


def test_a_pattern_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="redact_patterns"):
        Recorder(connect(tmp_path), RecordSettings(redact_patterns=("(",)))


@pytest.mark.parametrize(
    ("redact", "answer"), [(True, "to <email>, <redacted>"), (False, "to a@b.example, <redacted>")]
)
def test_texts_are_redacted_before_they_reach_the_disk(tmp_path: Path, redact: bool, answer: str) -> None:
    chosen = RecordSettings(content=True, redact=redact, redact_patterns=("T-1",))
    recorder = Recorder(connect(tmp_path), chosen)
    recorder.trace(trace(prompt="from a@b.example", answer="to a@b.example, T-1"))
    recorder.feedback({"trace": "chatcmpl-1", "caller": "k", "correction": "a@b.example"})
    recorder.close()
    assert kept(tmp_path)[0].answer == answer
    assert kept(tmp_path, FEEDBACK)[0].correction == ("<email>" if redact else "a@b.example")
    if redact:
        raw = b"".join(path.read_bytes() for path in tmp_path.glob("metier.db*"))
        assert b"a@b.example" not in raw


def test_a_share_of_the_texts_is_kept_of_all_traces(tmp_path: Path) -> None:
    recorder = Recorder(connect(tmp_path), RecordSettings(content=True, content_share=0.25))
    for number in range(400):
        recorder.trace(trace(str(number), prompt="p", answer="a"))
    recorder.close()
    rows = kept(tmp_path)
    assert len(rows) == 400
    assert 70 < sum(row.answer is not None for row in rows) < 130
    assert all((row.answer is not None) == recorder.keeps(row.id) for row in rows)


def test_what_is_too_old_goes_but_not_what_a_running_rollout_decides_on(tmp_path: Path) -> None:
    now = time.time()
    with connect(tmp_path).begin() as connection:
        connection.execute(ROLLOUTS.insert().values(id="r", alias="a", state="running", rules="{}"))
        for id, days, rollout in (("new", 1, ""), ("texts", 10, ""), ("gone", 40, ""), ("counted", 40, "r")):
            values = {"id": id, "time": now - days * DAY, "rollout": rollout, "prompt": "p", "answer": "a"}
            connection.execute(TRACES.insert().values(**values))
            connection.execute(FEEDBACK.insert().values(trace=id, time=now - days * DAY, comment="c"))
    recorder = Recorder(connect(tmp_path), RecordSettings(content_days=7, days=30))
    recorder.trace(trace())
    deadline = time.monotonic() + 30
    while len(kept(tmp_path)) != 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    recorder.close()
    assert {row.id: row.answer for row in kept(tmp_path)} == {
        "new": "a", "texts": None, "counted": None, "chatcmpl-1": None,
    }  # fmt: skip
    assert {row.trace: row.comment for row in kept(tmp_path, FEEDBACK)} == {"new": "c", "texts": None, "counted": None}


@pytest.mark.parametrize(
    ("prices", "cost"),
    [({}, None), ({"prompt": 2.0}, 12e-6), ({"cached": 1.0}, 4e-6), ({"completion": 3.0}, 6e-6)],
)
def test_tokens_have_their_price(prices: dict[str, float], cost: float | None) -> None:
    assert PriceSettings(**prices).of(10, 4, 2) == (cost if cost is None else pytest.approx(cost))


def test_the_stated_load_is_recorded_without_loss_and_what_is_beyond_is_counted(tmp_path: Path) -> None:
    recorder = Recorder(connect(tmp_path))
    for number in range(2 * STATED):
        recorder.trace(trace(str(number)))
    recorder.close()
    assert (recorder.written, recorder.dropped) == (2 * STATED, 0)
    assert len(kept(tmp_path)) == 2 * STATED


def test_a_database_that_does_not_answer_holds_no_request_up_and_the_loss_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = connect(tmp_path)
    recorder = Recorder(database, most_waiting=100)
    with database.begin() as connection:
        connection.execute(sql.text("DROP TABLE traces"))
    begun = time.thread_time()
    for number in range(5000):
        recorder.trace(trace(str(number), answer="never told"))
    assert time.thread_time() - begun < 1
    recorder.close()
    assert (recorder.written, recorder.dropped) == (0, 5000)
    assert "no such table" in caplog.text
    assert "never told" not in caplog.text


class Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.heard.append((self.path, self.rfile.read(int(self.headers["content-length"]))))  # pyrefly: ignore
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *given: object) -> None:
        pass


def test_every_request_becomes_a_span_at_a_collector(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Collector)
    server.heard = []  # pyrefly: ignore
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
    recorder = Recorder(connect(tmp_path), RecordSettings(spans=address, traces=False))
    recorder.trace(trace(answer="never told"), parent=f"00-{'a' * 32}-{'b' * 16}-01")
    recorder.close()
    server.shutdown()
    server.server_close()
    (path, sent), *_ = server.heard  # pyrefly: ignore
    assert path == "/v1/traces"
    for text in ("chat new", "gen_ai.request.model", "production", "gen_ai.usage.input_tokens", "metier.digest"):
        assert text.encode() in sent
    assert bytes.fromhex("a" * 32) in sent
    assert b"never told" not in sent
    assert kept(tmp_path) == []


def test_spans_hold_what_the_conventions_ask_for() -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    spans = Spans("", exporter)
    for finish in ("stop", "fault"):
        values = {name: getattr(trace(finish=finish), name) for name in Trace.__slots__}
        spans.send(values, "")
    spans.close()
    good, bad = exporter.get_finished_spans()
    assert good.attributes is not None
    assert dict(good.attributes) | {"gen_ai.response.finish_reasons": ("stop",)} == dict(good.attributes)
    assert good.attributes["gen_ai.operation.name"] == "chat"
    assert good.end_time - good.start_time == pytest.approx(8e6, abs=2)  # pyrefly: ignore
    assert not bad.status.is_ok
    assert good.status.is_unset


def test_embeddings_and_decisions_leave_traces_with_their_cost_too(shop: Shop, tmp_path: Path) -> None:
    here = {"host": "localhost"}
    with application(shop, store=tmp_path, record={"prices": {"prompt": 1e6}}) as client:
        assert client.post("/v1/embeddings", json={"model": MODEL, "input": "card"}, headers=here).status_code == 200
        asked = {
            "model": shop.runs["head"],
            "input": "card",
            "questions": [{"type": "predicate", "instructions": "card"}],
        }
        assert client.post("/v1/decisions", json=asked, headers=here).status_code == 200
        assert "metier_cost_total" in client.get("/metrics", headers=here).text
    rows = {row.route: row for row in kept(tmp_path)}
    assert set(rows) == {"embeddings", "decisions"}
    assert all(row.cost == row.prompt_tokens > 0 for row in rows.values())


def test_how_a_rollout_goes_is_what_the_settings_say() -> None:
    from metier.serve.rollouts.book import wanted_of

    changed = RolloutSettings(
        kind="shadow", share=0.3, steps=(0.2,), least=7, margin=0.2, confidence=0.9, check="json"
    )  # fmt: skip
    made = wanted_of(changed, "production", ("old", "new"))
    assert (made.kind, made.share, made.check is not None) == ("shadow", 0.3, True)
    assert (made.rules.steps, made.rules.least, made.rules.margin, made.rules.confidence) == ((0.2,), 7, 0.2, 0.9)
    assert wanted_of(RolloutSettings(steps=(0.2,)), "a", ("x", "y")).share == 0.2
    assert ServeSettings().rollouts.check is None
