"""Memory that is freed is used again: arrays of some megabytes ask the system for nothing the second time."""

import platform
import subprocess
import sys

import pytest

_ROUNDS = 40
_SCRIPT = """
import resource
import sys
import numpy as np
from metier.prepare.memory import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
def used():
    arrays = [np.ones(size, np.uint8) for size in (100_000, 3_000_000, 500_000, 2_000_000)]
    return len(arrays)
used()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(int(sys.argv[2])):
    used()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(way: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, way, str(_ROUNDS)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have their own rules")
def test_what_was_freed_is_used_again():
    """Planted: the same process without it."""
    assert _faults("kept") < 5 * _ROUNDS < _faults("as ever")
