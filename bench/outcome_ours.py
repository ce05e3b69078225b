"""Train a base with metier's defaults for so many steps: `python -m bench.outcome_ours JOB`; prints as the peers do."""

import importlib
import json
import sys
from pathlib import Path
from time import perf_counter

import yaml

from metier import flow, project


def main() -> None:
    """Prepare (not timed, as the peers get their rows ready-made) and train as the job says."""
    job = json.loads(sys.argv[1])
    folder = Path(job["output"])
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "name": "outcome",
        "base": job["base"],
        "data": {"train": job["train"], "test": job["test"]},
        "seed": job["seed"],
        # so many steps, and no fewer because the default number of epochs were over
        "train": {"max_steps": job["steps"], "epochs": 1000, "threads": job["threads"]},
    }
    (folder / project.FILE).write_text(yaml.safe_dump(settings), encoding="utf-8")
    place = project.Place(project=project.load(folder, job["overrides"]), folder=folder)
    run = flow.locate(place, flow.prepare(place).path)
    importlib.import_module("metier.train.run")  # importing torch is not timed: it is not for the peers either
    started = perf_counter()
    flow.train(place, run)
    seconds = perf_counter() - started
    summary = json.loads((run.path / "summary.json").read_text(encoding="utf-8"))
    print(json.dumps({"seconds": seconds, "steps": summary["steps"], "model": str(run.path / "model")}))


if __name__ == "__main__":
    main()
