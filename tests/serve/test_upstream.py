"""A second metier server behind the first: keys, limits and traces of the first, answers of the second."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sql

from metier.core.errors import InputError
from metier.serve import run
from metier.serve.database import connect
from metier.serve.keys import Keys
from metier.serve.settings import ServeSettings
from metier.serve.tables import TRACES
from tests.serve import workshop
from tests.serve.workshop import MODEL, Process, Shop

ASKED: list[Any] = [{"role": "user", "content": "my card number 7"}]
OPTIONS: dict[str, Any] = {"messages": ASKED, "temperature": 0, "max_tokens": 8}


@pytest.fixture(scope="module")
def first(
    server: Process, tmp_path_factory: pytest.TempPathFactory, tiny_base: Path
) -> Iterator[tuple[Process, Path, str]]:
    """The server in front, its folder, and a key for it."""
    folder = tmp_path_factory.mktemp("front")
    (folder / MODEL).symlink_to(tiny_base)
    (folder / "metier.yaml").write_text(f"base: {MODEL}\ndata: none.jsonl\n")
    key = Keys(connect(folder / ".metier")).make("ann", ["infer"])
    options = ("--serve.engine=vllm", f"--serve.upstream={server.url}", "--serve.record.content=true")
    process = workshop.start(folder, *options, "--serve.limits.tokens_per_minute=5000")
    yield process, folder, key
    workshop.end(process)


def test_what_the_second_answers_is_what_the_first_answers(
    server: Process, shop: Shop, first: tuple[Process, Path, str]
) -> None:
    process, folder, key = first
    with pytest.raises(openai.AuthenticationError):
        process.client().models.list()
    front, behind = process.client(key), server.client()
    assert {each.id for each in front.models.list()} == {each.id for each in behind.models.list()}
    assert front.models.retrieve(MODEL).id == MODEL
    whole = front.chat.completions.create(model=shop.runs["first"], **OPTIONS)
    wanted = behind.chat.completions.create(model=shop.runs["first"], **OPTIONS)
    assert whole.choices[0].message.content == wanted.choices[0].message.content
    parts = list(front.chat.completions.create(model=shop.runs["first"], **OPTIONS, stream=True))
    assert "".join(part.choices[0].delta.content or "" for part in parts) == wanted.choices[0].message.content
    assert all(part.usage is None for part in parts)
    vectors, texts = [], []
    for client in (front, behind):
        vectors.append(client.embeddings.create(model=MODEL, input="card").data)
        plain = client.completions.create(model=MODEL, prompt="ab", max_tokens=2, temperature=0)
        texts.append(plain.choices[0].text)
    assert vectors[0] == vectors[1]
    assert texts[0] == texts[1]
    with pytest.raises(openai.NotFoundError, match="not served here"):
        front.chat.completions.create(model="nobody", messages=ASKED)
    with pytest.raises(openai.BadRequestError, match="not a parameter"):
        front.chat.completions.create(model=MODEL, messages=ASKED, extra_body={"min_p": 1})
    raw = front.chat.completions.with_raw_response.create(model=MODEL, **OPTIONS)
    assert int(raw.headers["x-ratelimit-remaining-tokens"]) < 5000
    workshop.end(process)
    with connect(folder / ".metier").connect() as connection:
        rows = {row.id: row for row in connection.execute(sql.select(TRACES)).all()}
    for id in (whole.id, parts[0].id):
        assert (rows[id].completion_tokens, rows[id].user) == (wanted.usage.completion_tokens, "")  # pyrefly: ignore
        assert rows[id].answer == wanted.choices[0].message.content
        assert rows[id].total_ms > 0


def test_one_that_does_not_answer_is_said_so(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / MODEL).symlink_to((shop.folder / MODEL).resolve())
    settings = ServeSettings(engine="llama.cpp", upstream="http://127.0.0.1:9/v1")
    upstream = run.open_upstream(settings)
    with workshop.application(shop, store=tmp_path, upstream=upstream) as client:
        here = {"host": "localhost"}
        for stream in (False, True):
            body = {"model": "x", "stream": stream, **OPTIONS}
            answer = client.post("/v1/chat/completions", json=body, headers=here)
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream")
        assert client.post("/v1/decisions", json={}, headers=here).status_code == 404


def test_where_it_is_must_be_said_when_it_is_wanted() -> None:
    assert run.open_upstream(ServeSettings()) is None
    with pytest.raises(InputError, match="no address"):
        run.open_upstream(ServeSettings(engine="vllm"))
    with pytest.raises(InputError, match=r"serve\.engine metier"):
        run.open_upstream(ServeSettings(upstream="http://127.0.0.1:1/v1"))
    assert "METIER_UPSTREAM_KEY" not in os.environ


def test_tokens_that_were_refused_are_not_given_back(server: Process, shop: Shop, tmp_path: Path) -> None:
    """Planted fault: what a refused request had wanted was put into its key's bucket: asking for more helped."""
    settings = ServeSettings(engine="vllm", upstream=server.url)
    limits = {"tokens_per_minute": 60}
    with workshop.application(
        shop, store=tmp_path, upstream=run.open_upstream(settings), engine="vllm", limits=limits
    ) as client:
        left = []
        for most, status in ((20, 200), (1000, 429), (1000, 429)):
            body = OPTIONS | {"model": MODEL, "max_tokens": most}
            answer = client.post("/v1/chat/completions", json=body, headers={"host": "localhost"})
            assert answer.status_code == status
            left.append(int(answer.headers["x-ratelimit-remaining-tokens"]))
    assert left[2] < 60
