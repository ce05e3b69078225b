"""Signatures on disk: whole or an error, and the same however few rows are written at a time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from metier.prepare.duplicates import sketches as room
from metier.prepare.duplicates.signatures import BANDS, PLACES
from metier.prepare.duplicates.sketches import Sketches

_ROWS = 4000


def test_a_full_disk_while_comparing_is_told_and_leaves_no_snapshot(workshop):
    """A row here is 100 bytes in every file but those of signatures, where it is 160; the last few find no room."""
    workshop.write("t.csv", "text\n" + "".join(f"note {number} of a day\n" for number in range(_ROWS)))
    workshop.write("metier.yaml", "base: metier-tiny\ndata: {train: t.csv}\nprepare: {further: {workers: 1}}\n")
    script = (
        "import resource, sys\n"
        "from metier.cli.app import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({PLACES * _ROWS - 100}, {PLACES * _ROWS - 100}))\n"
        "sys.argv[0] = 'metier'\n"
        "main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    done = subprocess.run(
        [sys.executable, "-c", script, "prepare"],
        cwd=workshop.folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "no file larger than" in " ".join(done.stderr.split())
    assert workshop.snapshots() == []


def test_few_rows_at_a_time_are_sketched_as_many_are(tmp_path, monkeypatch):
    found = np.random.default_rng(0).integers(0, 2**32 - 1, (100, PLACES), np.uint64).astype(np.uint32)
    seen = []
    for together in (1 << 11, 7):
        monkeypatch.setattr(room, "_TOGETHER", together)
        folder = tmp_path / str(together)
        folder.mkdir()
        with Sketches(folder, len(found)) as sketches:
            for part in np.array_split(found, 30):
                sketches.add(part)
            sketches.seal()
            seen.append((sketches.bands(0, BANDS).tolist(), sketches.agreeing(np.array([[3, 3], [3, 97]])).tolist()))
    assert seen[0] == seen[1]
    assert seen[0][1] == [1.0, np.count_nonzero((found[3] ^ found[97]) & 0xFF == 0) / PLACES]
