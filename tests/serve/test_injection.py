"""What a request brings stays a value: in the log, in traces, spans, metrics and the audit log it forges nothing."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as some
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from metier.cli.app import app
from metier.serve import run
from metier.serve.audit import Audit
from metier.serve.database import connect
from metier.serve.keys import OPEN, Keys
from metier.serve.logs import OneLine
from metier.serve.refusal import Refusal
from metier.serve.refused import TurnedAway
from metier.serve.settings import ServeSettings
from metier.serve.spans import Spans
from metier.serve.tables import FEEDBACK, TRACES
from metier.serve.tuning.files import Files, Page
from tests.serve.test_faults import without
from tests.serve.test_traces import trace
from tests.serve.workshop import MODEL, Shop, application

HERE = {"host": "localhost"}
FORGED = "2026-11-22 02:00:00,000 all is well"
HOSTILE = (
    f"a\r\n{FORGED}", f"a\n{FORGED}", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", f"a\u2028{FORGED}",
    "\u202egnirts", "a\x00b", 'm"} 7\nmetier_requests_total{model="m', "%0d%0aSet-Cookie: x", "${jndi:ldap://x}",
    "{0.__class__} %s %n", "a\x08\x08b", "\x85next",
)  # fmt: skip
ASKED: list[Any] = [{"role": "user", "content": "card"}]


def line_of(message: str, fault: bool = False) -> str:
    """Return what the server's log says of a message, with a fault that repeats it where asked."""
    info = None
    if fault:
        try:
            raise ValueError(message)
        except ValueError as error:
            info = (ValueError, error, error.__traceback__)
    return OneLine().format(logging.LogRecord("metier.serve", logging.ERROR, "", 1, "%s", (message,), info))


@given(some.text() | some.sampled_from(HOSTILE), some.booleans())
def test_a_line_of_the_log_stays_one_and_shows_no_control_character(text: str, fault: bool) -> None:
    first, *below = line_of(text, fault).split("\n")
    assert first.isprintable()
    assert bool(below) == fault
    assert all(each.startswith("  | ") and each.isprintable() for each in below)


def test_the_usual_form_of_a_log_would_be_forged() -> None:
    """The planted fault that the test above is for; and what is harmless stays readable."""
    record = logging.LogRecord("metier.serve", logging.ERROR, "", 1, "%s", (HOSTILE[0],), None)
    assert FORGED in logging.Formatter("%(asctime)s %(message)s").format(record).splitlines()
    assert line_of("Zoë's 猫 – 5 €").endswith(" Zoë's 猫 – 5 €")
    assert line_of(HOSTILE[0]).endswith(rf"a\r\n{FORGED}")


def test_the_web_server_writes_by_the_same_form(shop: Shop) -> None:
    with application(shop) as client:
        assert run.configuration(client.app, ServeSettings()).log_config is None  # pyrefly: ignore


def is_control(text: str) -> bool:
    """Tell whether a path of this text is refused; the test's client reads what it has quoted once more."""
    return any(ord(sign) < 32 for sign in unquote(text))


@pytest.fixture
def log() -> Iterator[list[str]]:
    """The lines that the server logs meanwhile, in its own form."""
    lines: list[str] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keeps()
    handler.setFormatter(OneLine())
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


def test_no_path_or_header_forges_a_line_a_label_or_a_header(shop: Shop, tmp_path: Path, log: list[str]) -> None:
    with application(shop, store=tmp_path) as client:
        with connect(tmp_path).begin() as connection:
            connection.execute(sql.text("DROP TABLE files"))  # every path below it is logged
        for text in HOSTILE:
            for path in (f"/v1/files/{quote(text, safe='')}", f"/v1/models/{quote(text, safe='')}"):
                for method in ("GET", "DELETE"):
                    answer = client.request(method, path, headers=HERE)
                    assert (answer.status_code == 400) == is_control(text), text
                    assert all(each.isprintable() for pair in answer.headers.items() for each in pair)
        for name in ("authorization", "traceparent", "openai-project", "user-agent", "x-forwarded-for", "origin"):
            for text in HOSTILE:
                sent = [(b"host", b"localhost"), (name.encode(), text.encode("latin-1", "replace"))]
                assert client.get("/v1/models", headers=sent).status_code in (200, 403)
        told = client.get("/metrics", headers=HERE).text
    assert any("no such table" in line for line in log)
    assert all(line.isprintable() for entry in log for line in entry.split("\n"))
    assert not any(line.startswith("2026-11-22 02:00:00") for entry in log for line in entry.split("\n")[1:])
    labels = [sample.labels for family in text_string_to_metric_families(told) for sample in family.samples]
    assert {label["code"] for label in labels if "code" in label} == {"path", "origin"}


def test_users_and_opinions_are_recorded_as_they_came_and_are_no_labels(shop: Shop, tmp_path: Path) -> None:
    body = {"model": MODEL, "messages": ASKED, "max_tokens": 1, "temperature": 0}
    question = {"type": "choice", "instructions": "", "choices": [{"value": "card"}, {"value": "loan"}]}
    with application(shop, store=tmp_path) as client:
        for text in HOSTILE:
            asked = client.post("/v1/chat/completions", json=body | {"user": text}, headers=HERE)
            assert asked.status_code == 200
            decided = {"model": MODEL, "input": "card", "questions": [question], "safety_identifier": text}
            assert client.post("/v1/decisions", json=decided, headers=HERE).status_code == 200
            embedded = {"model": MODEL, "input": "card", "user": text}
            assert client.post("/v1/embeddings", json=embedded, headers=HERE).status_code == 200
            said = {"id": asked.json()["id"], "thumbs": "up", "comment": text}
            assert client.post("/v1/feedback", json=said, headers=HERE).status_code == 201
            for wrong in ({"model": text}, {"model": MODEL, "messages": [{"role": text, "content": "x"}]}):
                assert client.post("/v1/chat/completions", json=body | wrong, headers=HERE).status_code in (400, 404)
        told = client.get("/metrics", headers=HERE).text
    labels = [sample.labels for family in text_string_to_metric_families(told) for sample in family.samples]
    assert {label["model"] for label in labels if "model" in label} == {MODEL}
    with connect(tmp_path).connect() as connection:
        users = [row.user for row in connection.execute(sql.select(TRACES)).all()]
        comments = [row.comment for row in connection.execute(sql.select(FEEDBACK)).all()]
    kept = [text.replace("\x00", "\ufffd") for text in HOSTILE]
    assert sorted(users) == sorted(kept * 3)
    assert sorted(comments) == sorted(kept)


def test_a_span_holds_a_hostile_user_as_a_value() -> None:
    exporter = InMemorySpanExporter()
    spans = Spans("", exporter=exporter)
    for text in HOSTILE:
        fields = trace(user=text)
        spans.send({name: getattr(fields, name) for name in fields.__slots__}, parent=text)
    spans.close()
    assert [span.attributes["enduser.id"] for span in exporter.get_finished_spans()] == list(HOSTILE)
    assert {span.name for span in exporter.get_finished_spans()} == {"chat new"}
    assert all(span.parent is None for span in exporter.get_finished_spans())


def test_nothing_is_lost_in_postgresql_beside_a_nul(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: it takes no NUL, so that one in `user` lost all traces that were written with it."""
    monkeypatch.setenv("METIER_DATABASE", postgres)
    engine = connect(tmp_path / "nul" / ".metier")
    with engine.begin() as connection:
        rows = [{"id": f"chatcmpl-{number}", "user": text} for number, text in enumerate(HOSTILE)]
        connection.execute(TRACES.insert(), rows)
    with engine.connect() as connection:
        users = [row.user for row in connection.execute(sql.select(TRACES).order_by(TRACES.c.id)).all()]
    assert sorted(users) == sorted(text.replace("\x00", "\ufffd") for text in HOSTILE)
    files = Files(engine)
    file = files.add(OPEN, filename="a\x00b", purpose="fine-tune", content=b"{}")
    assert file["filename"] == "a\ufffdb"
    assert files.listed(OPEN, Page(after=None, limit=9), None)["data"] == [file]
    with pytest.raises(Refusal, match="no 'file"):
        files.content(OPEN, "file-\x00")
    engine.dispose()


def test_the_audit_log_holds_hostile_paths_in_one_line_each(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "metier.yaml").write_text("base: metier-tiny\ndata: none.jsonl\n")
    store = tmp_path / ".metier"
    with application(shop, store=store) as client:
        for text in HOSTILE:
            client.post(f"/v1/files/{quote(text, safe='')}", headers=HERE)
    lines = Audit(connect(store), store).lines(99)
    assert len(lines) == sum(not is_control(text) for text in HOSTILE)
    assert all(line["action"].isprintable() for line in lines)
    printed = CliRunner().invoke(app, ["audit", "--project", str(tmp_path)])
    assert printed.exit_code == 0
    assert len(printed.output.splitlines()) == len(lines) + 1
    assert all(line.isprintable() for line in printed.output.splitlines())


def refused(store: Path) -> list[dict[str, Any]]:
    """Return what the audit log says of those who were not let in, the first line first."""
    return [line["facts"] for line in reversed(Audit(connect(store), store).lines(999)) if line["action"] == "refused"]


def test_who_is_not_let_in_stands_in_the_audit_log(shop: Shop, tmp_path: Path) -> None:
    key = Keys(connect(tmp_path)).make("ann", ["infer"])
    with application(shop, store=tmp_path) as client:
        for _ in range(5):
            assert client.get("/v1/models", headers=HERE).status_code == 401
            known = HERE | {"authorization": f"Bearer {key}"}
            assert client.get("/v1/files", headers=known).status_code == 403
        assert client.get("/v1/models", headers={"host": "elsewhere.example"}).status_code == 403
        first = refused(tmp_path)
        assert first == [{"callers": {"testclient": 1}, "why": {"no_key": 1}}]
        told = client.get("/metrics", headers=known).text
    assert 'metier_refused_total{code="no_key"} 5.0' in told
    _, rest = refused(tmp_path)
    assert rest["why"] == {"no_key": 4, "no_scope": 5, "host": 1}
    assert sorted(rest["callers"].values()) == [5, 5]
    assert key not in json.dumps([*first, rest])


def test_nobody_fills_the_disk_by_being_refused(tmp_path: Path) -> None:
    """A day of a refused request each second, from ever new addresses of any length, is some thirty short lines."""
    now = 0.0
    turned = TurnedAway(Audit(connect(tmp_path), tmp_path), clock=lambda: now)

    async def day() -> None:
        nonlocal now
        for second in range(86_400):
            now = float(second)
            await turned.note("no_key", f"2001:db8::{second}" + "x" * 10_000)

    asyncio.run(day())
    turned.close()
    lines = refused(tmp_path)
    assert 24 <= len(lines) <= 33
    assert sum(line["why"]["no_key"] for line in lines) == 86_400  # none is lost
    assert max(len(json.dumps(line)) for line in lines) < 800
    assert all(sum(line["callers"].values()) == line["why"]["no_key"] for line in lines)
    now += 100_000.0
    asyncio.run(turned.note("no_scope", "key"))
    assert refused(tmp_path)[-1] == {"callers": {"key": 1}, "why": {"no_scope": 1}}


def test_who_is_refused_is_refused_also_where_the_log_cannot_be_written(tmp_path: Path, log: list[str]) -> None:
    turned = TurnedAway(Audit(without(tmp_path, "audit"), tmp_path))
    asyncio.run(turned.note("no_key", "ann"))
    assert "refused requests could not be written down: OperationalError" in log[-1]
