"""One test for each class of hole that servers of models have had, beside those of keys, webhooks and templates."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

import metier
from metier.serve.database import connect
from metier.serve.gate import scope_of
from metier.serve.keys import SCOPES, Allowance, Keys
from tests.serve.workshop import MODEL, Shop, application

HERE = {"host": "localhost"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
Made = tuple[Path, dict[str, str]]
ASKED: list[Any] = [{"role": "user", "content": "card"}]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Made:
    store = tmp_path_factory.mktemp("doors")
    made = Keys(connect(store))
    found = {scope: made.make(scope, [scope]) for scope in SCOPES}
    found |= {"ann": made.make("ann", ["train"], Allowance(tenant="one"))}
    found |= {"amy": made.make("amy", ["train"], Allowance(tenant="one"))}
    found |= {"bob": made.make("bob", ["train"], Allowance(tenant="two"))}
    found["revoked"] = made.make("revoked", ["admin"])
    made.revoke("revoked")
    return store, found


@pytest.fixture(scope="module")
def client(shop: Shop, keys: Made) -> Iterator[TestClient]:
    with application(shop, store=keys[0]) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return HERE | {"authorization": f"Bearer {key}"}


def spellings(path: str) -> list[str]:
    return [path + "/", path.replace("/v1", "/V1"), path.replace("/v1/", "//v1//"), path.replace("/v1/", "/v1/./"),
            path.replace("/v1/", "/v1%2f"), path.replace("/v1/", "/x/../v1/")]  # fmt: skip


def test_no_door_opens_without_the_scope_that_it_needs(client: TestClient, keys: Made) -> None:
    bad = {"none": HERE, "wrong": bearer("mk-wrong"), "empty": bearer(""), "revoked": bearer(keys[1]["revoked"]),
           "basic": HERE | {"authorization": f"Basic {keys[1]['admin']}"}}  # fmt: skip
    paths = client.app.openapi()["paths"]  # pyrefly: ignore
    assert len(paths) > 25
    for written in paths:
        path = re.sub(r"{[^}]*}", "x", written)
        if path == "/health":
            continue
        for method in METHODS:
            needed = scope_of(path, method)
            lesser = {name: bearer(keys[1][name]) for name in ("infer", "train") if name != needed}
            for who, headers in (bad | lesser).items():
                status = client.request(method, path, headers=headers, content=b"{}").status_code
                assert status in (401, 403), (who, method, path, status)
        for spelling in spellings(path):
            for headers in (HERE, bad["wrong"]):
                assert client.post(spelling, headers=headers, content=b"{}").status_code == 401, spelling


@pytest.mark.parametrize(
    "key", ["' OR '1'='1", "' UNION SELECT * FROM keys--", "mk-\x00", "mk-é", "%", "*", "null", "None"]
)
def test_a_key_is_never_a_query(client: TestClient, key: str) -> None:
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode())]
    assert client.get("/v1/models", headers=headers).status_code == 401


def test_tenants_share_what_is_theirs_and_see_nothing_else(client: TestClient, keys: Made) -> None:
    ann, amy, bob = (bearer(keys[1][name]) for name in ("ann", "amy", "bob"))
    made = client.post("/v1/files", files={"file": ("a", b"{}\n")}, data={"purpose": "fine-tune"}, headers=ann).json()
    upload = {"bytes": 2, "filename": "a", "mime_type": "x", "purpose": "fine-tune"}
    begun = client.post("/v1/uploads", json=upload, headers=ann).json()
    job = client.post("/v1/fine_tuning/jobs", json={"model": MODEL, "training_file": made["id"]}, headers=amy).json()
    doors = [("GET", f"/v1/files/{made['id']}"), ("GET", f"/v1/files/{made['id']}/content")]
    doors += [("GET", f"/v1/fine_tuning/jobs/{job['id']}{end}") for end in ("", "/events", "/checkpoints")]
    doors += [("POST", f"/v1/fine_tuning/jobs/{job['id']}/{end}") for end in ("pause", "resume", "cancel")]
    doors += [("POST", f"/v1/uploads/{begun['id']}/cancel"), ("DELETE", f"/v1/files/{made['id']}")]
    for method, path in doors:
        assert client.request(method, path, headers=bob).status_code == 404, path
    for path in ("/v1/files", "/v1/fine_tuning/jobs", "/v1/webhook_endpoints"):
        assert client.get(path, headers=bob).json()["data"] == []
    for method, path in doors:
        assert client.request(method, path, headers=amy).status_code == 200, path
    assert client.get("/v1/files", headers=ann | {"openai-project": "two"}).json()["error"]["code"] == "project"
    assert client.get("/v1/files", headers=ann | {"openai-project": "one"}).status_code == 200


@pytest.mark.parametrize(
    "extra",
    [
        {"chat_template": "{{ 7 }}"}, {"chat_template_kwargs": {"x": 1}}, {"prompt_embeds": "AAAA"},
        {"lora_path": "/x"},
        {"media_io_kwargs": {}}, {"images": ["http://169.254.169.254/"]}, {"n_discard": -1}, {"adapter": "../x"},
        {"echo_file": "/etc/passwd"}, {"__class__": "x"}, {"__proto__": {"x": 1}},
    ],
)  # fmt: skip
def test_templates_tensors_paths_and_addresses_are_no_parameters(
    client: TestClient, keys: Made, extra: dict[str, Any]
) -> None:
    body = {"model": MODEL, "messages": ASKED, "max_tokens": 1} | extra
    answer = client.post("/v1/chat/completions", json=body, headers=bearer(keys[1]["infer"]))
    assert answer.json()["error"]["code"] == "unknown_parameter"
    part = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}
    body = {"model": MODEL, "messages": [{"role": "user", "content": [part]}]}
    assert client.post("/v1/chat/completions", json=body, headers=bearer(keys[1]["infer"])).status_code == 400


def test_every_number_has_bounds(client: TestClient, keys: Made) -> None:
    schemas = client.get("/openapi.json", headers=bearer(keys[1]["admin"])).json()["components"]["schemas"]
    free: list[str] = []

    def walk(place: str, value: Any) -> None:
        if isinstance(value, dict):
            if value.get("type") in ("integer", "number") and "const" not in value and "enum" not in value:
                low = {"minimum", "exclusiveMinimum"} & set(value)
                high = {"maximum", "exclusiveMaximum"} & set(value)
                if not (low and high):
                    free.append(place)
            for name, inner in value.items():
                walk(f"{place}.{name}", inner)
        elif isinstance(value, list):
            for inner in value:
                walk(place, inner)

    walk("", {name: schema for name, schema in schemas.items() if "ValidationError" not in name})
    assert free == []


HOSTILE = (
    "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/x", "/etc/passwd", "....//x", "..\\..\\x",
    "file:///etc/passwd", "~root", "$HOME", "`id`", "x#../..", "x?/../..", "．．/x", "con", "x" * 5000, ".", "..",
    "-rf",
    "a/../../b", "\u202e", "%00", "org/name", "shop-%2e%2e", "{0}", "*", "runs/../..",
)  # fmt: skip


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Collect the paths of all files that are opened inside the block, as Python's own audit hook hears them."""
    heard: list[str] = []
    listening = True

    def hear(event: str, given: tuple[Any, ...]) -> None:
        if listening and event == "open" and isinstance(given[0], str):
            heard.append(given[0])

    sys.addaudithook(hear)  # one cannot be taken off again
    yield heard
    listening = False


def test_no_name_in_a_request_becomes_a_path(client: TestClient, shop: Shop, keys: Made) -> None:
    headers = bearer(keys[1]["admin"])
    with opened_files() as heard:
        for name in HOSTILE:
            for path in ("models", "files", "fine_tuning/jobs", "uploads", "webhook_endpoints"):
                if name not in (".", ".."):  # a client resolves these itself
                    told = client.get(f"/v1/{path}/{quote(name, safe='')}", headers=headers)
                    assert told.status_code in (400, 404, 405), name
            asked = {"model": name, "messages": ASKED, "max_tokens": 1}
            assert client.post("/v1/chat/completions", json=asked, headers=headers).status_code in (400, 404), name
            job = {"model": MODEL, "training_file": name, "suffix": name}
            assert client.post("/v1/fine_tuning/jobs", json=job, headers=headers).status_code in (400, 404), name
            sent = client.post(
                "/v1/files", files={"file": (name, b"{}\n")}, data={"purpose": "fine-tune"}, headers=headers
            )
            assert sent.status_code in (200, 400), name
    assert heard
    assert strangers(heard, shop, keys[0]) == []


def strangers(heard: list[str], shop: Shop, store: Path) -> list[str]:
    """Return the paths that no request may lead to: neither the project's, nor the server's store, nor our programs."""
    allowed = (shop.folder, store, Path(sys.prefix), Path(sys.base_prefix), Path(metier.__file__).parents[1])
    roots = [path.resolve() for path in allowed]
    places = [(path, Path(path).resolve()) for path in heard]
    return [path for path, place in places if not any(place.is_relative_to(root) for root in roots)]


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../../../../etc/hostname", "{folder}/../elsewhere", "{folder}/link/secret", "secret"]
)
def test_a_name_that_became_a_path_would_be_found(
    client: TestClient, shop: Shop, keys: Made, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault of the test above: a model that is looked for by its name among the files."""
    (tmp_path / "secret").write_text("x")
    monkeypatch.chdir(tmp_path)
    (shop.folder / "link").symlink_to(tmp_path)
    name = name.format(folder=shop.folder)

    def found(asked: str) -> None:
        with suppress(OSError):
            Path(asked).read_bytes()

    monkeypatch.setattr(client.app_state.catalogue, "find", found)  # pyrefly: ignore
    with opened_files() as heard:
        asked = {"model": name, "messages": ASKED, "max_tokens": 1}
        client.post("/v1/chat/completions", json=asked, headers=bearer(keys[1]["admin"]))
    found_out = strangers(heard, shop, keys[0])
    (shop.folder / "link").unlink()
    assert found_out == [name]


def test_a_fault_says_nothing_of_the_inside(client: TestClient, keys: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(caller: Any, page: Any, purpose: Any) -> None:
        raise RuntimeError(f"object at 0x7f3a2b1c in {Path(__file__)}")

    monkeypatch.setattr(client.app_state.jobs.files, "listed", broken)  # pyrefly: ignore
    answer = client.get("/v1/files", headers=bearer(keys[1]["admin"]))
    assert answer.status_code == 500
    assert "0x" not in answer.text
    assert "tests" not in answer.text
