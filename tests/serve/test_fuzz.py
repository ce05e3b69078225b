"""Schemathesis over the server's OpenAPI: whatever is sent, no answer is a fault of the server."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from starlette.testclient import TestClient

from tests.serve.workshop import MODEL, Shop, application, chat_rows

EXAMPLES = int(os.environ.get("METIER_FUZZ", "4"))
"""Requests an operation and kind: a few in the tests, hundreds for `make fuzz`."""

OURS = "http://localhost"
_REQUEST = ("method", "url", "headers", "data", "json", "params", "files")
_bounded = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES < 10, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(scope="module")
def client(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with application(shop, store=tmp_path_factory.mktemp("fuzz")) as client:
        client.headers["host"] = "localhost"
        yield client


@pytest.fixture(scope="module")
def names(client: TestClient) -> dict[str, str]:
    """Return ids of things that are there, by the kind of path that they stand in."""
    file = client.post("/v1/files", files={"file": ("a.jsonl", chat_rows().encode())}, data={"purpose": "fine-tune"})
    upload = {"bytes": 10, "filename": "a", "mime_type": "text/plain", "purpose": "fine-tune"}
    found = {"files": file.json()["id"], "uploads": client.post("/v1/uploads", json=upload).json()["id"]}
    job = client.post("/v1/fine_tuning/jobs", json={"model": MODEL, "training_file": found["files"]})
    return found | {"fine_tuning": job.json()["id"], "models": MODEL}


def test_no_answer_is_a_fault_of_the_server(client: TestClient, shop: Shop, names: dict[str, str]) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    asked, seen = 0, set()
    models = [MODEL, shop.runs["first"], shop.runs["head"], shop.runs["whole"]]

    def ask(case: Any, model: str | None, known: bool) -> None:
        nonlocal asked
        asked += 1
        if isinstance(case.body, dict) and model is not None:
            case.body["model"] = model
            case.body.update({name: 2 for name in ("max_tokens", "max_completion_tokens", "n") if name in case.body})
        section = case.operation.path.split("/")[2] if case.operation.path.count("/") > 1 else ""
        if known and section in names and isinstance(case.path_parameters, dict):
            case.path_parameters.update(dict.fromkeys(case.path_parameters, names[section]))
        sent = {name: value for name, value in case.as_transport_kwargs(base_url=OURS).items() if name != "cookies"}
        request = requests.Request(**{name: sent[name] for name in sent if name in _REQUEST}).prepare()
        headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
        headers["host"] = "localhost"
        answer = client.request(request.method or "GET", request.path_url, content=request.body, headers=headers)
        seen.add(answer.status_code)
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

    for operation in (found.ok() for found in schema.get_all_operations()):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            cases = operation.as_strategy(mode)

            @_bounded
            @given(cases, some.none() | some.sampled_from(models), some.booleans())
            def run(case: Any, model: str | None, known: bool) -> None:
                ask(case, model, known)

            with suppress(Unsatisfiable):  # nothing can be wrong about a request without any parameter
                run()
    assert asked > 50
    assert {200, 400, 404} <= seen
