"""Graders of requests: tried on one answer with the official client, and whatever would hurt the server refused."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning.alpha import GraderRunResponse, GraderValidateResponse
from starlette.testclient import TestClient

from metier.serve.refusal import Refusal
from metier.serve.settings import GraderSettings
from metier.serve.tuning import grading
from metier.serve.wire.tuning import TrialBody
from tests.serve.workshop import Process, Shop, application

HAS_A = {"type": "string_check", "name": "a", "operation": "ilike", "input": "{{sample.output_text}}", "reference": "a"}
JUDGE = {"type": "score_model", "name": "judge", "model": "m", "input": [{"role": "user", "content": "How good?"}]}
MULTI = {"type": "multi", "name": "several", "calculate_output": "a"}
LIKE = {"type": "text_similarity", "name": "like", "evaluation_metric": "fuzzy_match",
        "input": "{{sample.output_text}}", "reference": "abcd"}  # fmt: skip
PATH = "/v1/fine_tuning/alpha/graders"
NOWHERE = GraderSettings.model_validate({"judge": {"url": "http://127.0.0.1:9/v1", "tries": 1}, "python": True})


@pytest.fixture(scope="module")
def client(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with application(shop, store=tmp_path_factory.mktemp("grading"), graders=NOWHERE.model_dump()) as client:
        client.headers["host"] = "localhost"
        yield client


def tried(grader: Any, sample: str, item: dict[str, Any] | None = None, seconds: float = 600) -> dict[str, Any]:
    return grading.tried(TrialBody(grader=grader, model_sample=sample, item=item), NOWHERE, seconds)


def program(source: str) -> dict[str, Any]:
    return {"type": "python", "name": "x", "source": source}


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def test_graders_are_tried_on_one_answer(server: Process) -> None:
    graders = server.client().fine_tuning.alpha.graders
    assert graders.validate(grader=HAS_A).grader.reference == "a"
    found = graders.run(grader=HAS_A | {"reference": "{{item.letter}}"}, model_sample="abc", item={"letter": "B"})
    assert (found.reward, found.metadata.type, found.metadata.name) == (1.0, "string_check", "a")
    both = {"type": "multi", "name": "both", "calculate_output": "0.5 * a + 0.5 * like",
            "graders": {"a": HAS_A, "like": LIKE}}  # fmt: skip
    found = graders.run(grader=both, model_sample="abc")
    assert found.reward == pytest.approx(0.5 + 0.5 * found.sub_rewards["like"])
    assert found.sub_rewards["a"] == 1.0
    wrong = graders.run(grader=HAS_A | {"reference": "{{item.nothing}}"}, model_sample="abc", item={})
    assert (wrong.reward, wrong.metadata.errors.invalid_variable_error) == (0.0, True)
    for refused in ({"type": "python", "name": "x", "source": "print(1)"}, JUDGE, {"type": "code", "allow": True}):
        for ask in (graders.validate, lambda **named: graders.run(model_sample="abc", **named)):
            with pytest.raises(openai.BadRequestError, match="grader"):
                ask(grader=refused)


@pytest.mark.parametrize("grader", [HAS_A, LIKE, JUDGE, program("x"), MULTI | {"graders": {"a": HAS_A}}])
def test_the_client_s_own_models_miss_nothing(client: TestClient, grader: dict[str, Any]) -> None:
    """The client itself takes what comes; its models are strict about fields when they are asked."""
    nameless = {name: value for name, value in grader.items() if name != "name"}
    understood = client.post(f"{PATH}/validate", json={"grader": nameless}).json()
    if grader["type"] != "multi":  # of which the client's model knows one grader only
        assert GraderValidateResponse.model_validate(understood, strict=True).grader is not None
    for sample in ("abc", "xyz"):
        ran = client.post(f"{PATH}/run", json={"grader": nameless, "model_sample": sample}).json()
        read = GraderRunResponse.model_validate(ran, strict=True)
        assert all(isinstance(value, float | None) for value in read.metadata.scores.values())


@pytest.mark.parametrize("graders", [HAS_A, [HAS_A, LIKE], {"a": HAS_A, "like": LIKE}])
def test_several_graders_are_written_in_three_ways(graders: Any) -> None:
    """By the client's types one, by OpenAI's reference a list, by its guide names and graders."""
    assert tried(MULTI | {"graders": graders}, "abc")["reward"] == 1.0
    with pytest.raises(Refusal, match="`name` of its own"):
        tried(MULTI | {"graders": [HAS_A, HAS_A]}, "abc")
    with pytest.raises(Refusal, match="at least 1 item"):
        tried(MULTI | {"graders": {}, "calculate_output": "1"}, "abc")


def test_every_part_is_asked_once_and_says_what_went_wrong_with_it() -> None:
    """Planted fault: a part that never says the same twice."""
    several = MULTI | {"graders": {"a": HAS_A, "b": program("def grade(s, i):\n    return {}[1]")}}
    found = tried(several | {"calculate_output": "a + b"}, "abc")
    assert found["sub_rewards"] == {"a": 1.0, "b": None}
    assert "KeyError" in found["metadata"]["errors"]["python_grader_runtime_error_details"]
    assert not found["metadata"]["errors"]["other_error"]
    none = tried(several | {"graders": {"": HAS_A, "a": LIKE}}, "abcd")
    assert (none["reward"], none["sub_rewards"]) == (1.0, {"": 1.0, "a": 1.0})
    divided = tried(MULTI | {"graders": {"a": HAS_A}, "calculate_output": "1 / (a - a)"}, "abc")
    assert divided["metadata"]["errors"]["other_error"]
    late = tried(MULTI | {"graders": {"a": HAS_A}}, "abc", seconds=-1)
    assert (late["reward"], late["sub_rewards"]) == (0.0, {"a": None})
    drawn = tried(
        MULTI | {"graders": {"a": program("import random\ndef grade(s, i):\n    return random.random()")}}, ""
    )
    assert drawn["reward"] == drawn["sub_rewards"]["a"] > 0
    unread = HAS_A | {"input": "{{ sample.output_json.b }}"}
    assert [tried(unread, text)["metadata"]["errors"]["sample_parse_error"] for text in ("x", "{}")] == [True, False]


def test_programs_of_requests_run_in_the_sandbox_where_that_is_allowed(tmp_path: Path) -> None:
    """Planted faults: one that would write elsewhere, one that would read the network, one that breaks."""
    right = tried(
        program("def grade(sample, item):\n    return len(sample['output_text']) / item['n'] / 3"), "abc", {"n": 2}
    )
    assert right["reward"] == 0.5
    for source, words in (
        (f"def grade(sample, item):\n    open({str(tmp_path / 'x')!r}, 'w')", "not allowed here"),
        ("def grade(sample, item):\n    import socket\n    socket.socket()", "not allowed here"),
        ("def grade(sample, item):\n    import subprocess\n    subprocess.run(['true'])", "not allowed here"),
        ("def grade(sample, item):\n    return {}[1]", "KeyError"),
    ):
        errors = tried(program(source), "abc")["metadata"]["errors"]
        assert errors["python_grader_runtime_error"]
        assert words in errors["python_grader_runtime_error_details"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(Refusal, match="run code of a request"):
        grading.read(program("x"), GraderSettings(), "grader")


def test_judges_are_those_of_the_server() -> None:
    found = tried(JUDGE, "abc")
    assert found["reward"] == 0.0
    assert found["metadata"]["errors"]["model_grader_server_error"]
    for sampling, words in (
        ({"messages": []}, r"sampling_params\.messages"), ({"temperature": "hot"}, r"sampling_params\.temperature"),
    ):  # fmt: skip
        with pytest.raises(Refusal, match=words):
            tried(JUDGE | {"sampling_params": sampling}, "abc")
    with pytest.raises(Refusal, match=r"grader\.model: missing"):
        tried({name: value for name, value in JUDGE.items() if name != "model"}, "abc")


@pytest.mark.parametrize(
    ("grader", "words"),
    [
        ("x", "grader"),
        ({}, "type"),
        ({"type": "string_check", "reference": "\ud800"}, "not valid Unicode"),
        (MULTI | {"graders": {"\ud800": HAS_A}}, "not valid Unicode"),
        (JUDGE | {"range": [1, 1]}, "a least number below"),
        (JUDGE | {"range": [float("nan"), 1]}, "a number that is infinite"),
        (JUDGE | {"range": [-1e308, 1e308]}, "a least number below"),
        (JUDGE | {"input": [{"role": "user", "content": {"type": "input_image", "image_url": "x"}}]}, "input"),
        (JUDGE | {"input": [{"role": "user", "content": json.loads(nested(60))}]}, "input"),
        (JUDGE | {"input": [{"role": "user", "content": json.loads(nested(300))}]}, "inside each other"),
        ({"type": "label_model", "model": "m", "input": [], "labels": ["a", "b"], "passing_labels": ["c"]}, "'c'"),
        (program("#" * (1 << 18)), "262,189 characters of JSON"),
        (MULTI | {"graders": {f"a{n}": HAS_A for n in range(17)}, "calculate_output": "a1"}, "17 graders"),
        (MULTI | {"graders": {"a": HAS_A}, "calculate_output": "b"}, "unknown name b"),
    ],
)
def test_what_is_no_grader_is_refused_in_words(grader: Any, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        grading.read(grader, NOWHERE, "grader")
    assert (refused.value.status, refused.value.param) == (400, "grader")


@pytest.mark.parametrize("depth", [100, 300, 900, 2000, 100_000])
def test_values_inside_each_other_are_no_fault_of_the_server(client: TestClient, depth: int) -> None:
    """Planted fault: at 300 the library that writes settings gives up, at 1000 the interpreter."""
    deep = nested(depth)
    judge = json.dumps(JUDGE).replace('"How good?"', deep)
    sampling = json.dumps(JUDGE | {"sampling_params": {"seed": 7}}).replace("7}", f"{deep}}}")
    for path, body in (
        ("validate", f'{{"grader": {judge}}}'), ("validate", f'{{"grader": {sampling}}}'),
        ("run", f'{{"grader": {json.dumps(HAS_A)}, "model_sample": "x", "item": {{"z": {deep}}}}}'),
    ):  # fmt: skip
        answer = client.post(f"{PATH}/{path}", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_items_that_no_place_can_name() -> None:
    """Planted faults: a digit that is no number, a number that no memory holds, places that grow to gigabytes."""
    for place in ("item.a[²]", f"item.a[{'9' * 5000}]", "item.a[7]", "item.a.b"):
        assert tried(HAS_A | {"reference": f"{{{{{place}}}}}"}, "abc", {"a": ["x"]})["reward"] == 1.0
    grown = tried(HAS_A | {"reference": "{{item.a}}" * 1000}, "abc", {"a": "x" * 100_000})
    assert grown["metadata"]["errors"]["other_error"]
    for item, words in (({"a": "\ud800"}, "Unicode"), ({"a": "x" * (1 << 20)}, "characters of JSON")):
        with pytest.raises(Refusal, match=words):
            tried(HAS_A, "abc", item)


def test_no_more_than_two_are_tried_at_once(client: TestClient) -> None:
    """The third is told to come again, and a place is free again when one has ended."""
    slow = program("import time\ndef grade(s, i):\n    time.sleep(3)\n    return 1")
    codes: list[int] = []

    def ask() -> None:
        codes.append(client.post(f"{PATH}/run", json={"grader": slow, "model_sample": "x"}).status_code)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(codes) == [200, 200, 429]
    assert client.post(f"{PATH}/run", json={"grader": HAS_A, "model_sample": "a"}).json()["reward"] == 1.0
