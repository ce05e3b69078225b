"""Contenders as processes of their own, held at the gate between steps so that they can be timed in turn."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.environments import python
from bench.gate import Job
from bench.places import REPOSITORY, cache
from metier.core.pages import HUGE_PAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Who takes part: the environment it runs in, what its users call it, and the packages whose versions matter."""

    environment: str
    title: str
    packages: tuple[str, ...]


CONTENDERS = {
    "metier": Contender(environment="metier", title="metier", packages=("torch", "transformers", "peft")),
    "hand": Contender(environment="metier", title="H: hand-written loop", packages=("torch", "transformers", "peft")),
    "trl": Contender(environment="trl", title="T: TRL SFTTrainer", packages=("torch", "transformers", "peft", "trl")),
    "trainer": Contender(environment="trl", title="plain Trainer", packages=("torch", "transformers", "peft")),
    "litgpt": Contender(environment="litgpt", title="litgpt, micro-batch 1", packages=("torch", "litgpt")),
    "ms_swift": Contender(
        environment="ms-swift", title="ms-swift", packages=("torch", "transformers", "peft", "ms_swift")
    ),
    "torchtune": Contender(environment="torchtune", title="torchtune", packages=("torch", "torchtune", "torchao")),
}


class Worker:
    """A running contender. `step` lets it take one step and returns what that cost."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.log = cache() / "logs" / f"{job.contender}-{os.getpid()}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        paths = [str(REPOSITORY)] + ([str(REPOSITORY / "src")] if self._is_ours() else [])
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": str(job.threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "METIER_BENCH": str(cache()),
            "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0") if job.device == "cuda" else "",
        }
        if job.contender == "metier":
            environment[HUGE_PAGES] = "1"  # as its command line does
        interpreter = python(CONTENDERS[job.contender].environment)
        with self.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [str(interpreter), "-m", "bench.worker", json.dumps(job.as_dict())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                cwd=REPOSITORY,
            )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the gate: the contender ends without saving anything."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ready(self) -> dict[str, Any]:
        """Wait until everything is loaded; returns what the contender says of itself."""
        return self._answer()

    def step(self) -> dict[str, Any]:
        """Take one step; returns wall, user and system seconds, peak bytes so far and the loss where it is known."""
        assert self._process.stdin is not None
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.job.contender} ended; its last words:\n{_tail(self.log)}")
        return json.loads(line)

    def _is_ours(self) -> bool:
        return CONTENDERS[self.job.contender].environment == "metier"


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
