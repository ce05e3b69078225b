"""What is wrong with a request is told of what was sent and meant, and nothing in its address is ignored."""

from typing import Any

import pytest

from tests.serve.workshop import MODEL, Shop, application

CHAT, DECIDE = "chat/completions", "decisions"
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
LEVELS = [{"label": "low"}, {"label": "high"}]
WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    (CHAT, {"messages": [{"role": "user", "content": [IMAGE]}]}, "messages.0.content.0.type", "'text'"),
    (CHAT, {"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "string"),
    (CHAT, {"messages": [{"content": "a"}]}, "messages.0.role", "required"),
    (CHAT, {"stop": ["a", 5]}, "stop.1", "string"),
    (CHAT, {"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name", "required"),
    (CHAT, {"tools": [{"type": "function", "function": {"name": "a", "kind": 1}}]}, "tools.0.function.kind", "not a"),
    (DECIDE, {"questions": [{"type": "choice", "instructions": "which?"}]}, "questions.0.choices", "required"),
    (DECIDE, {"questions": [{"type": "choice", "instructions": "", "choices": [{"value": 5}, {"value": "a"}]}]},
     "questions.0.choices.0.value", "string"),
    (DECIDE, {"questions": [{"type": "score", "instructions": "", "levels": LEVELS[:1]}]},
     "questions.0.levels", "at least 2"),
    (DECIDE, {"questions": [{"type": "choose", "instructions": ""}]}, "questions.0", "predicate, choice or score"),
    (DECIDE, {"questions": [{"instructions": ""}]}, "questions.0", "predicate, choice or score"),
    (DECIDE, {"input": [{"role": "user", "content": [{"type": "x", "text": "a"}]}]}, "input.0.content.0.type", "text"),
]  # fmt: skip
LEAST: dict[str, dict[str, Any]] = {
    CHAT: {"model": MODEL, "messages": [{"role": "user", "content": "card"}]},
    DECIDE: {"model": MODEL, "input": "card", "questions": [{"type": "predicate", "instructions": "a card?"}]},
}


@pytest.mark.parametrize(("path", "changes", "param", "words"), WRONG)
def test_a_fault_has_the_name_of_what_was_sent(
    path: str, changes: dict[str, Any], param: str, words: str, shop: Shop
) -> None:
    with application(shop) as client:
        answer = client.post(f"/v1/{path}", json=LEAST[path] | changes, headers={"host": "localhost"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"] in ("invalid_value", "unknown_parameter")) == (param, True), error
    assert words in error["message"]
    assert param in error["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/models"), ("GET", f"/v1/models/{MODEL}"), ("POST", f"/v1/{CHAT}"), ("GET", "/v1/fine_tuning/jobs"),
     ("GET", "/v1/files"), ("GET", "/v1/webhook_endpoints"), ("GET", "/v1/rollouts"), ("POST", "/v1/feedback")],
)  # fmt: skip
def test_what_stands_in_an_address_is_obeyed_or_refused(method: str, path: str, shop: Shop) -> None:
    with application(shop) as client:
        asked = {"headers": {"host": "localhost"}, **({"json": LEAST[CHAT]} if method == "POST" else {})}
        answer = client.request(method, f"{path}?colour=red", **asked)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "colour"), answer.text
        assert "ignored" in answer.text


def test_what_an_address_may_hold_is_obeyed(shop: Shop) -> None:
    with application(shop) as client:
        for query in ("limit=5", "metadata=null", "metadata[team]=desk"):
            assert client.get(f"/v1/fine_tuning/jobs?{query}", headers={"host": "localhost"}).status_code == 200
        for query in ("metadata=x", "metadata[team=desk", "limits=5"):
            assert client.get(f"/v1/fine_tuning/jobs?{query}", headers={"host": "localhost"}).status_code == 400
        assert client.get("/health?probe=1", headers={"host": "localhost"}).status_code == 200
