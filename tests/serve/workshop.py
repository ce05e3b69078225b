"""A project with a tiny base and a few runs, an application on it in this process, and a real server in another."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import openai
from starlette.testclient import TestClient

from metier import flow
from metier.model.find import find
from metier.project import Place, load
from metier.serve.app import make_app
from metier.serve.catalogue import Catalogue
from metier.serve.run import mixable, open_desk
from metier.serve.settings import ServeSettings
from metier.serve.upstream import Upstream
from metier.text.settings import TextSettings

LABELS = ("card", "loan")
MODEL = "small"


def rows(count: int = 24) -> str:
    lines = [{"text": f"my {LABELS[n % 2]} number {n}", "label": LABELS[n % 2]} for n in range(count)]
    return "".join(json.dumps(line) + "\n" for line in lines)


def chat_rows(count: int = 24) -> str:
    said = [(f"my {LABELS[n % 2]} number {n}", LABELS[n % 2]) for n in range(count)]
    lines = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}
        for asked, answer in said
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def train(folder: Path, *options: str) -> str:
    """Train a run of the project, and return its id."""
    place = Place(project=load(folder, options), folder=folder)
    run = flow.locate(place, flow.prepare(place).path)
    flow.train(place, run)
    return run.id


@dataclass(frozen=True, slots=True)
class Shop:
    """A project's folder, and its runs by what they are."""

    folder: Path
    runs: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / ".metier"


def build(folder: Path, base: Path) -> Shop:
    (folder / MODEL).symlink_to(base)
    (folder / "rows.jsonl").write_text(rows())
    (folder / "metier.yaml").write_text(f"base: {MODEL}\ndata: rows.jsonl\n")
    lora, quick = ("--model.method=lora", "--model.alpha=64"), ("--train.max-steps=3", "--train.learning-rate=0.03")
    runs = {
        "first": train(folder, *lora, *quick),
        "second": train(folder, *lora, *quick, "--model.rank=4"),
        "whole": train(folder, "--model.method=full", *quick),
        "head": train(folder, "--model.method=full", "--train.objective=classify", "--train.max-steps=20"),
    }
    return Shop(folder, runs)


def templated(folder: Path, base: Path, template: str) -> Shop:
    """Make a project whose base is another with a template of its own and room for longer conversations."""
    own = folder / MODEL
    own.mkdir()
    for path in base.iterdir():
        if path.name not in ("tokenizer_config.json", "config.json"):
            (own / path.name).symlink_to(path)
    for name, changes in (
        ("tokenizer_config", {"chat_template": template}),
        ("config", {"max_position_embeddings": 1024}),
    ):
        facts = json.loads((base / f"{name}.json").read_text())
        (own / f"{name}.json").write_text(json.dumps(facts | changes))
    (folder / "metier.yaml").write_text(f"base: {MODEL}\ndata: none.jsonl\n")
    return Shop(folder)


@contextmanager
def application(
    shop: Shop, *, store: Path | None = None, local: bool = True, upstream: Upstream | None = None, **changes: object
) -> Iterator[TestClient]:
    """Open the application in this process, without the foreman of the jobs."""
    settings = ServeSettings.model_validate(changes)
    base = find(MODEL, shop.folder)
    desk = open_desk(shop.folder, store or shop.store, base=base, text=TextSettings(), settings=settings)
    desk.catalogue = Catalogue(shop.folder, shop.store, base, text=TextSettings(), mixable=mixable)
    with TestClient(make_app(desk, local=local, upstream=upstream), raise_server_exceptions=False) as client:
        client.app_state = desk  # pyrefly: ignore
        yield client


@dataclass(slots=True)
class Process:
    """A server in a process of its own, and the clients that talk to it, which end with it."""

    process: "subprocess.Popen[str]"
    url: str
    clients: list[openai.OpenAI] = field(default_factory=list)

    def client(self, key: str = "none") -> openai.OpenAI:
        self.clients.append(openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=120))
        return self.clients[-1]


def start(folder: Path, *options: str) -> Process:
    """Start `metier serve` in a project's folder, as people do, and wait until it listens."""
    command = [sys.executable, "-m", "metier", "serve", "--serve.port=0", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    log = folder / "serve.log"
    begin = len(log.read_text(encoding="utf-8")) if log.exists() else 0
    with log.open("a", encoding="utf-8") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, text=True, env=environment, cwd=folder)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8")[begin:]
        found = re.search(r"at (http://\S+/v1)", text)
        if found:
            return Process(process, found[1])
        assert process.poll() is None, text
        time.sleep(0.1)
    end(Process(process, ""))
    raise AssertionError("the server did not listen within two minutes")


def end(server: Process) -> None:
    for client in server.clients:
        client.close()
    server.process.terminate()
    server.process.wait(timeout=60)
