"""The servers that are compared, each a process of its own that listens at a port of this machine."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import yaml

from bench import serve_models
from bench.environments import python
from bench.places import REPOSITORY, cache

CONTENDERS = ("metier", "transformers", "transformers-plain", "llama.cpp")
STREAMS = 16
_START_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Server:
    """One that listens: its address up to /v1, the model's name there, and its process."""

    name: str
    url: str
    model: str
    process: psutil.Process

    def cpu(self) -> float:
        """Return the CPU seconds of the process and its children so far."""
        found = [self.process, *self.process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in found)

    def memory(self) -> int:
        """Return the bytes that the process and its children hold."""
        return sum(one.memory_info().rss for one in [self.process, *self.process.children(recursive=True)])


@contextmanager
def running(name: str, model: str, threads: int, *options: str) -> Iterator[Server]:
    """Start a contender on a shape and wait until it answers; `options` go to ours."""
    log = cache() / "logs" / f"serve-{name}-{model}.log"
    log.parent.mkdir(exist_ok=True)
    port = _free_port()
    served, command = _command(name, model, port=port, threads=threads)
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(_home()),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")]) if name == "metier" else "",
    }
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen([*command, *options], env=environment, cwd=REPOSITORY, stdout=stream, stderr=stream)
    try:
        url = f"http://127.0.0.1:{port}/v1"
        _wait(process, url, served, log)
        yield Server(name, url, served, psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()


def _command(name: str, model: str, *, port: int, threads: int) -> tuple[str, list[str]]:
    folder = serve_models.folder(model)
    if name == "metier":
        project = _project(model, folder)
        return str(folder), [
            sys.executable, "-m", "metier", "serve", "--project", str(project), f"--serve.port={port}",
            f"--serve.limits.together={STREAMS}",
        ]  # fmt: skip
    if name.startswith("transformers"):
        # its own choice of blocks takes all free memory
        blocks = ["--continuous-batching", "--cb-block-size", "32", "--cb-num-blocks", "512"]
        blocks += ["--cb-max-batch-tokens", "512"]
        return str(folder), [
            str(python("transformers").parent / "transformers"), "serve", str(folder), "--device", "cpu",
            "--dtype", "float32", "--port", str(port), "--host", "127.0.0.1",
            *(() if name.endswith("plain") else blocks),
        ]  # fmt: skip
    return folder.name, [
        str(python(name)), str(REPOSITORY / "bench" / "serve_llama.py"), str(_gguf(folder)), str(port), str(threads),
        str(STREAMS), folder.name,
    ]  # fmt: skip


def _project(model: str, folder: Path) -> Path:
    project = cache() / "serve" / model
    project.mkdir(parents=True, exist_ok=True)
    (project / "rows.jsonl").write_text('{"text": "one", "label": "two"}\n', encoding="utf-8")
    (project / "metier.yaml").write_text(yaml.safe_dump({"base": str(folder), "data": "rows.jsonl"}), encoding="utf-8")
    return project


def _gguf(folder: Path) -> Path:
    from metier.promote.export.gguf.model import write_model

    path = folder / "model-f32.gguf"
    if not path.is_file():
        write_model(folder, path, precision="f32", name=folder.name)
    return path


def _home() -> Path:
    """Return a cache of Hugging Face's with nothing in it: the library's server wants one to exist."""
    folder = cache() / "empty-hub"
    (folder / "hub").mkdir(parents=True, exist_ok=True)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(process: "subprocess.Popen[bytes]", url: str, model: str, log: Path) -> None:
    """Ask for one token until it comes."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1, "temperature": 0}
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            answer = httpx2.post(f"{url}/chat/completions", json=body, timeout=_START_SECONDS)
        except httpx2.HTTPError:
            time.sleep(0.3)
            continue
        if answer.status_code == httpx2.codes.OK:
            return
        if not re.match("5..", str(answer.status_code)):
            raise RuntimeError(f"{url}: {answer.status_code} {answer.text[:500]}")
        time.sleep(0.3)
    raise RuntimeError(f"{url} does not answer:\n{log.read_text(encoding='utf-8')[-3000:]}")
