"""What the tests of Ray do, in a process of its own (Ray leaves processes to its interpreter): prints one JSON object.

python -m tests.prepare.scale.ray_session FOLDER
"""

import json
import os
import signal
import sys
from pathlib import Path

import ray

from metier.core.errors import DataError
from metier.prepare.reading import pieces
from metier.prepare.scale import cluster
from tests.prepare.workshop import Workshop, decisions

NAME = "chats.jsonl"


class Mortal(cluster.Remote):
    """Planted fault: the first worker that comes to the middle of the file is killed."""

    def work(self, piece):
        mark = Path(os.environ["MORTAL"])
        if piece.first > 20 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().work(piece)


def main(folder: Path) -> None:
    pieces._BLOCK = 2000
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    told = {}
    settings = {"further": {"run_on": "ray"}, "protect": "redact", "columns": {"group": "who"}}
    for turn, kind in (("plain", cluster.Remote), ("killed", Mortal)):
        cluster.Remote = kind
        workshop = Workshop(folder / turn)
        workshop.write(NAME, (folder / NAME).read_bytes())
        result = workshop.prepare(NAME, **settings)
        choice = next(choice for choice in workshop.heard.choices if choice.name == "processes")
        told[turn] = {"digest": result.digest, "decisions": decisions(result), "processes": choice.value}
    workshop.write(NAME, (folder / NAME).read_bytes() + b'{"messages": "caf\xe9"}\n')
    try:
        workshop.prepare(NAME, **settings)
    except DataError as error:
        told["error"] = str(error)
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
