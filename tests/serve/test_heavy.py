"""Requests that are small and would cost the server minutes or gigabytes, or that nobody could answer: refused."""

from collections.abc import Iterator
from time import process_time
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.serve.workshop import MODEL, Shop, application

SAID = [{"role": "user", "content": "my card number 3"}]


@pytest.fixture(scope="module")
def client(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with application(shop, store=tmp_path_factory.mktemp("heavy")) as client:
        client.headers["host"] = "localhost"
        yield client


def question(answers: int) -> dict[str, Any]:
    return {"type": "choice", "instructions": "", "choices": [{"value": f"v{number}"} for number in range(answers)]}


@pytest.mark.parametrize(
    ("text", "questions", "words"),
    [("x", [question(256)] * 400, "102,400 answers"), ("hello " * 20_000, [question(200)], "tokens of input")],
)
def test_more_answers_on_offer_than_could_ever_wait(
    client: TestClient, text: str, questions: list[dict[str, Any]], words: str
) -> None:
    """Planted faults: the first took 38 seconds to be told to come again, the second two gigabytes."""
    started = process_time()
    answer = client.post("/v1/decisions", json={"model": MODEL, "input": text, "questions": questions})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert words in answer.json()["error"]["message"]
    assert process_time() - started < 10


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"anyOf": [{"$ref": "#"}]}])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_schema_that_goes_round_in_circles_is_the_caller_s_fault(
    client: TestClient, schema: dict[str, Any], streamed: bool
) -> None:
    """Planted fault: the library finds out when the first token is chosen, which was told as a fault of ours."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    asked = {"model": MODEL, "messages": SAID, "max_tokens": 4, "response_format": form, "stream": streamed}
    answer = client.post("/v1/chat/completions", json=asked)
    assert "invalid_request_error" in answer.text
    assert "grammar cannot be followed" in answer.text
    assert streamed or answer.status_code == 400
