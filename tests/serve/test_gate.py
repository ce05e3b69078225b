"""Who is let in, how much is taken on, and what each setting changes."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sql
from starlette.testclient import TestClient
from typer.testing import CliRunner

from metier.cli.app import app
from metier.core.errors import InputError
from metier.model.find import find
from metier.serve import run
from metier.serve.database import connect
from metier.serve.keys import Keys
from metier.serve.settings import ServeSettings
from metier.serve.tables import KEYS, TRACES
from metier.serve.traces import Recorder, Trace
from metier.text.settings import TextSettings
from tests.serve.workshop import MODEL, Shop, application

HERE = {"host": "localhost"}


def ask(client: TestClient, key: str | None = None, **changes: Any) -> Any:
    headers = HERE | ({"authorization": f"Bearer {key}"} if key else {})
    body = {"model": MODEL, "messages": [{"role": "user", "content": "card"}], "max_tokens": 3, "temperature": 0}
    return client.post("/v1/chat/completions", json=body | changes, headers=headers)


def test_keys_open_what_their_scopes_say_and_nothing_else(shop: Shop, tmp_path: Path) -> None:
    keys = Keys(connect(tmp_path))
    infer, train, admin = (keys.make(name, [name]) for name in ("infer", "train", "admin"))
    with application(shop, store=tmp_path) as client:
        assert ask(client).status_code == 401
        assert ask(client, "mk-wrong").status_code == 401
        assert ask(client, infer[:-1]).status_code == 401
        assert ask(client, train).status_code == 403
        assert ask(client, infer).status_code == ask(client, admin).status_code == 200
        for method, path in (("GET", "/v1/files"), ("POST", "/v1/fine_tuning/jobs"), ("DELETE", "/v1/files/x")):
            response = client.request(method, path, headers=HERE | {"authorization": f"Bearer {infer}"})
            assert response.status_code == 403, path
            assert client.request(method, path, headers=HERE).status_code == 401
        for path in ("/v2/models", "/nothing", "/docs"):
            assert client.get(path, headers=HERE | {"authorization": f"Bearer {infer}"}).status_code == 403
        assert client.get("/health", headers=HERE).json() == {"status": "ok"}
    assert keys.revoke("infer") == 1
    with application(shop, store=tmp_path) as client:
        assert ask(client, infer).status_code == 401
    with connect(tmp_path).connect() as connection:
        kept = str(connection.execute(sql.select(KEYS)).all())
    assert not any(key in kept for key in (infer, train, admin))
    with pytest.raises(InputError, match="scope x"):
        keys.make("n", ["x"])


def test_a_key_has_a_name_by_which_it_can_be_revoked(tmp_path: Path) -> None:
    """Planted fault: a name of 70 characters was cut when the key was made, and nothing was revoked under it."""
    (tmp_path / "metier.yaml").write_text("base: metier-tiny\ndata: none.jsonl\n")
    run, here = CliRunner(), ["--project", str(tmp_path)]
    for name in ("", "a" * 65, "a\nb"):
        assert isinstance(run.invoke(app, ["key", name, *here]).exception, InputError)
    for name in ("a" * 64, "Ann's laptop"):
        made = run.invoke(app, ["key", name, *here]).output.strip()
        keys = Keys(connect(tmp_path / ".metier"))
        assert keys.caller(f"Bearer {made}") is not None
        assert run.invoke(app, ["key", name, "--revoke", *here]).exit_code == 0
        assert Keys(connect(tmp_path / ".metier")).caller(f"Bearer {made}") is None
        again = run.invoke(app, ["key", name, "--revoke", *here]).exception
        assert "none that opens anything" in str(again)


def test_each_caller_sees_only_its_own_files(shop: Shop, tmp_path: Path) -> None:
    keys = Keys(connect(tmp_path))
    ann, bob, admin = keys.make("ann", ["train"]), keys.make("bob", ["train"]), keys.make("root", ["admin"])

    def headers(key: str) -> dict[str, str]:
        return HERE | {"authorization": f"Bearer {key}"}

    with application(shop, store=tmp_path) as client:
        made = client.post(
            "/v1/files", files={"file": ("../../x.jsonl", b"{}\n")}, data={"purpose": "fine-tune"}, headers=headers(ann)
        ).json()
        path = f"/v1/files/{made['id']}"
        assert client.get(path, headers=headers(ann)).status_code == 200
        assert client.get(path, headers=headers(admin)).status_code == 200
        for method, place in (("GET", path), ("GET", f"{path}/content"), ("DELETE", path)):
            assert client.request(method, place, headers=headers(bob)).status_code == 404
        job = {"model": MODEL, "training_file": made["id"]}
        assert client.post("/v1/fine_tuning/jobs", json=job, headers=headers(bob)).status_code == 404
        assert client.get("/v1/files", headers=headers(bob)).json()["data"] == []
    assert not list(tmp_path.parent.glob("x.jsonl"))


def test_a_page_from_elsewhere_cannot_ask_this_machine(shop: Shop, tmp_path: Path) -> None:
    with application(shop, store=tmp_path) as client:
        for headers in ({"host": "evil.example"}, {"host": "localhost.evil.example:80"}, {"host": "127.0.0.1.evil:1"}):
            assert client.get("/v1/models", headers=headers).json()["error"]["code"] == "host"
        elsewhere = {"host": "localhost:8000", "origin": "https://evil.example"}
        assert client.get("/v1/models", headers=elsewhere).json()["error"]["code"] == "origin"
        assert client.get("/v1/models", headers={"host": "127.0.0.1:8000"}).status_code == 200
    with application(shop, store=tmp_path, local=False) as client:
        assert client.get("/v1/models", headers={"host": "models.example"}).status_code == 200


def test_an_open_address_needs_a_key_first(shop: Shop, tmp_path: Path) -> None:
    base = find(MODEL, shop.folder)

    def serve(**settings: Any) -> None:
        run.serve(shop.folder, tmp_path, base=base, text=TextSettings(), settings=ServeSettings(**settings))

    with pytest.raises(InputError, match="metier key NAME"):
        serve(host="0.0.0.0")
    with run.listening("127.0.0.1", 0) as taken, pytest.raises(InputError, match="in use"):
        serve(port=taken.getsockname()[1], jobs=False)
    assert [run.is_local(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.1", "h.example")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_too_large_and_broken_bodies_are_refused_in_words(shop: Shop, tmp_path: Path) -> None:
    with application(shop, store=tmp_path, limits={"body_mib": 0.001}) as client:
        assert ask(client, messages=[{"role": "user", "content": "x" * 2000}]).status_code == 413
        stream = (b" " * 500 for _ in range(5))
        assert client.post("/v1/chat/completions", content=stream, headers=HERE).status_code == 413
        broken = client.post(
            "/v1/chat/completions", content=b"{", headers=HERE | {"content-type": "application/json"}
        ).json()["error"]
        assert broken["message"] == "body: not JSON; wanted: a JSON object"
        assert client.post("/v1/nothing", headers=HERE).json()["error"]["type"] == "not_found_error"


def test_more_than_is_taken_on_is_told_to_come_again(shop: Shop, tmp_path: Path) -> None:
    with application(shop, store=tmp_path, limits={"together": 1, "waiting": 0}) as client:
        assert ask(client, n=8).status_code == 200, "what is asked at once is one request"
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: ask(client, max_tokens=40), range(8)))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert {(each.status_code, each.headers.get("retry-after")) for each in refused} == {(429, "1")}
        assert len(refused) < 8
    roomy = {"together": 8, "waiting": 8}
    with application(shop, store=tmp_path, limits=roomy) as client, ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(lambda _: ask(client, n=8), range(8))} == {200}


def test_a_deadline_ends_an_answer(shop: Shop, tmp_path: Path) -> None:
    with application(shop, store=tmp_path, limits={"deadline_seconds": 1e-6}) as client:
        assert ask(client, max_tokens=100).json()["error"]["code"] == "deadline"


def test_a_beginning_is_kept_unless_there_is_no_memory_for_it(shop: Shop, tmp_path: Path) -> None:
    long = [{"role": "user", "content": "card " * 20}]
    for size, cached in ((8, 96), (0, 0)):
        with application(shop, store=tmp_path, memory={"prefix_mib": size}, limits={"read_tokens": 16}) as client:
            ask(client, messages=long)
            usage = ask(client, messages=long).json()["usage"]
            assert usage["prompt_tokens_details"]["cached_tokens"] == cached


def test_whole_models_and_adapters_take_turns_in_memory(shop: Shop, tmp_path: Path) -> None:
    with application(shop, store=tmp_path, memory={"models": 1, "adapters_mib": 1}) as client:
        names = [MODEL, shop.runs["whole"], shop.runs["first"], shop.runs["head"], MODEL]
        for name in names[:3]:
            assert ask(client, model=name).status_code == 200
        desk: Any = client.app_state  # pyrefly: ignore
        assert list(desk.pool.states) == [f"engine {MODEL}"]
        assert len(desk.pool.states[f"engine {MODEL}"].adapters) == 1


@pytest.mark.parametrize(("traces", "content"), [(True, True), (True, False), (False, False)])
def test_only_what_the_settings_ask_for_is_recorded(shop: Shop, tmp_path: Path, traces: bool, content: bool) -> None:
    with application(shop, store=tmp_path, record={"traces": traces, "content": content}) as client:
        ask(client)
    with connect(tmp_path).connect() as connection:
        rows = connection.execute(sql.select(TRACES)).all()
    assert len(rows) == traces
    assert all((row.prompt is not None) == content == (row.answer is not None) for row in rows)


def test_without_jobs_there_are_no_files(shop: Shop, tmp_path: Path) -> None:
    with application(shop, store=tmp_path, jobs=False) as client:
        assert client.get("/v1/files", headers=HERE).status_code == 404


def test_traces_never_wait_and_what_is_dropped_is_counted(tmp_path: Path) -> None:
    recorder = Recorder(connect(tmp_path), most_waiting=3)
    trace = Trace(
        id="", time=0.0, route="chat", caller="", user="", asked="m", model="m", base="b", digest="", prompt_tokens=1,
        cached_tokens=0, completion_tokens=1, first_token_ms=None, total_ms=1.0, finish="stop",
    )  # fmt: skip
    for number in range(50):
        recorder.trace(Trace(**{name: getattr(trace, name) for name in trace.__slots__} | {"id": str(number)}))
    recorder.close()
    assert recorder.written + recorder.dropped == 50
    assert recorder.dropped > 0
    with connect(tmp_path).connect() as connection:
        assert len(connection.execute(sql.select(TRACES)).all()) == recorder.written


def test_files_are_listed_in_either_order_and_uploads_checked_by_their_sum(shop: Shop, tmp_path: Path) -> None:
    with application(shop, store=tmp_path) as inside:
        client = openai.OpenAI(base_url="http://localhost/v1", api_key="x", http_client=inside, max_retries=0)
        content, wrong = b'{"text": "a"}\n', hashlib.md5(b"b").hexdigest()
        told: Any = {"file": content, "filename": "a", "bytes": len(content), "mime_type": "x", "purpose": "fine-tune"}
        made = client.uploads.upload_file_chunked(**told, md5=hashlib.md5(content).hexdigest())
        assert (made.status, client.files.content(made.file.id).content) == ("completed", content)  # pyrefly: ignore
        with pytest.raises(openai.BadRequestError, match="md5: not that of what came"):
            client.uploads.upload_file_chunked(**told, md5=wrong)
        client.files.create(file=("b", content), purpose="fine-tune")
        orders = [[file.id for file in client.files.list(order=order)] for order in ("asc", "desc")]
        assert orders[0] == orders[1][::-1]
        assert len(orders[0]) == 2
        with pytest.raises(openai.BadRequestError, match="order"):
            client.files.list(order="up")  # pyrefly: ignore
