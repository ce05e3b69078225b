"""The compact table of first places answers as a dictionary would."""

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from metier.prepare.first import First

IDS = st.integers(0, 2**96 - 1).map(lambda number: f"{number:024x}") | st.sampled_from(
    ["0" * 24, "f" * 24, "0" * 23 + "1"]
)
SOURCES = st.sampled_from(["t.jsonl:1", "t.jsonl:007", "t.jsonl:12.2", "a:b:3", "nowhere", ":5", "t.jsonl:²"])


@settings(deadline=None)
@given(st.lists(st.tuples(IDS, SOURCES, st.sampled_from(["train", "test"]))))
def test_it_is_a_dictionary(tmp_path_factory, entries):
    first, expected = First(tmp_path_factory.getbasetemp()), {}
    for row_id, source, role in entries:
        assert first.setdefault(row_id, source, role) == expected.setdefault(row_id, (source, role))
    assert len(first) == len(expected)


def test_it_grows(tmp_path):
    first = First(tmp_path)
    ids = [f"{number * 0x9E3779B97F4A7C15F39CC060 % 2**96:024x}" for number in range(10_000)]
    for line, row_id in enumerate(ids, 1):
        assert first.setdefault(row_id, f"t.jsonl:{line}", "train") == (f"t.jsonl:{line}", "train")
    for line, row_id in enumerate(ids, 1):
        assert first.setdefault(row_id, "other:1", "test") == (f"t.jsonl:{line}", "train")


def test_half_an_entry_on_a_full_disk_is_an_error_and_no_entry(tmp_path):
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from metier.prepare.first import First\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_001, 150_001))\n"
        "first = First(Path(sys.argv[1]))\n"
        "try:\n"
        "    for number in range(16384):\n"
        "        first.setdefault(f'{number:024x}', f't.jsonl:{number}', 'train')\n"
        "except OSError as error:\n"
        "    print(number, error.strerror)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "9557 File too large\n"  # when they are written for the third time
