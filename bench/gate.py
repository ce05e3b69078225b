"""What stands between the driver and a contender: the contender may take a step only when told, and is timed.

One line of JSON each way over the worker's own standard input and output; whatever a trainer prints goes to its log.
"""

import json
import os
import resource
import sys
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any


class Finished(Exception):
    """Raised inside the contender's loop when no further step is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a contender is asked to do: `steps` is how many it may be asked for, `micro_batch` rows a model call.

    `variant` names flags that only that contender knows; "" are those of the table.
    """

    contender: str
    model: str
    work: str
    method: str
    threads: int
    steps: int
    rows_per_step: int
    micro_batch: int
    device: str = "cpu"
    variant: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the job as plain values."""
        return asdict(self)


class Gate:
    """The contender's side: `ready` once, then `done` after each step; both return when the next step may begin."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._started = _clocks()

    def ready(self, **facts: Any) -> None:
        """Say that start-up is over (with its cost since the process began); wait for the first step."""
        self._say({"event": "ready", "start_cpu": sum(_clocks()[1:]), **facts})
        self._wait()

    def done(self, **facts: Any) -> None:
        """Say what the step cost; wait for the next one.

        Raises:
            Finished: there is none.
        """
        if "cuda" in sys.modules.get("torch", sys).__dict__ and sys.modules["torch"].cuda.is_initialized():
            sys.modules["torch"].cuda.synchronize()
            facts["peak_gpu"] = sys.modules["torch"].cuda.max_memory_allocated()
        wall, user, system = (now - then for now, then in zip(_clocks(), self._started, strict=True))
        self._say({"event": "step", "wall": wall, "user": user, "system": system, "peak": _peak_bytes(), **facts})
        self._wait()

    def _wait(self) -> None:
        if sys.stdin.readline().strip() != "step":
            raise Finished
        self._started = _clocks()

    def _say(self, facts: dict[str, Any]) -> None:
        self._answers.write(json.dumps(facts) + "\n")


def _clocks() -> tuple[float, float, float]:
    """Return wall, user and system seconds of this process with all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return perf_counter(), usage.ru_utime, usage.ru_stime


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
