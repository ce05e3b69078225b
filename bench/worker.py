"""One contender in a process of its own, started by the driver in that peer's environment: `… -m bench.worker JOB`."""

import importlib
import json
import os
import sys
import warnings

from bench.gate import Finished, Gate, Job


def main() -> None:
    """Run the contender that the job names until the gate closes."""
    job = Job(**json.loads(sys.argv[1]))
    sys.argv = sys.argv[:1]
    warnings.filterwarnings("ignore")
    gate = Gate()
    import torch

    torch.set_num_threads(job.threads)
    try:
        importlib.import_module(f"bench.contenders.{job.contender}").run(job, gate)
    except Finished:
        sys.stderr.flush()
        os._exit(0)  # no trainer saves or merges anything on its way out
    raise RuntimeError(f"{job.contender} ended by itself before {job.steps} steps")


if __name__ == "__main__":
    main()
