"""The same snapshot from a Ray cluster of two processors on this machine as from one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metier.core import extras
from metier.core.errors import MissingExtraError
from tests.prepare.scale.test_workers import chats
from tests.prepare.workshop import decisions

PATIENCE = {"RAY_raylet_start_wait_time_s": "300"}


@pytest.mark.slow
def test_ray_gives_the_same_snapshot_byte_for_byte_even_when_a_worker_is_killed(workshop):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'metier[ray]'")
    name = chats(workshop)
    done = subprocess.run(
        [sys.executable, "-m", "tests.prepare.scale.ray_session", str(workshop.folder)], check=True, text=True,
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[3],
        env={**os.environ, **PATIENCE, "MORTAL": str(workshop.folder / "killed-once")},
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    result = workshop.prepare(name, protect="redact", columns={"group": "who"})
    for turn in ("plain", "killed"):
        assert told[turn] == {"digest": result.digest, "decisions": decisions(result), "processes": 2}
    assert (workshop.folder / "killed-once").exists()
    assert "chats.jsonl:203: byte 0xe9 is not UTF-8" in told["error"]


def test_without_ray_the_line_that_installs_it_is_told(workshop, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "ray" else True)
    with pytest.raises(MissingExtraError, match=r"pip install 'metier\[ray\]'"):
        workshop.prepare(chats(workshop), further={"run_on": "ray"}, protect="nothing", clean={"language": "off"})
