import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from metier.score import execute
from metier.score.execute import Limits


def test_a_program_that_passes_and_one_that_does_not() -> None:
    assert execute.run("assert sum(range(4)) == 6\nprint('ok')").output.strip() == "ok"
    ran = execute.run("assert 1 == 2, 'no'")
    assert (ran.passed, ran.why) == (False, "AssertionError: no")
    assert "SyntaxError" in execute.run("def f(:").why


def test_the_clock_holds() -> None:
    start = time.monotonic()
    ran = execute.run("while True: pass", Limits(seconds=1))
    assert not ran.passed
    assert time.monotonic() - start < 5


def test_memory_holds() -> None:
    assert "MemoryError" in execute.run("x = bytearray(1 << 30)", Limits(memory_bytes=256 << 20)).why


def test_what_is_printed_without_end_fills_no_memory() -> None:
    """Planted fault: a loop that prints; from a pipe it would be gigabytes in this process."""
    ran = execute.run("while True: print('x' * 1000)", Limits(seconds=20))
    assert (ran.passed, len(ran.output)) == (False, 300)
    assert "File too large" in ran.why


@pytest.mark.parametrize(
    "program",
    [
        "import socket; socket.create_connection(('127.0.0.1', 1))",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import os; os.fork()",
        "import os; os.kill(os.getppid(), 0)",
        "open('/tmp/metier-was-here', 'w')",
        "import os; os.open('/tmp/metier-was-here', os.O_CREAT | os.O_WRONLY)",
        "import os; os.remove('/tmp/metier-not-there')",
        "import ctypes; ctypes.CDLL(None)",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
    ],
)
def test_what_a_program_may_not_do(program: str) -> None:
    ran = execute.run(program)
    assert not ran.passed
    assert "not allowed" in ran.why or "Error" in ran.why
    assert not Path("/tmp/metier-was-here").exists()


def test_its_own_folder_is_its_own_and_the_environment_is_empty() -> None:
    program = (
        "open('a.txt', 'w').write('x'); import os; assert 'PYTHONPATH' not in os.environ; assert open('a.txt').read()"
    )
    assert execute.run(program).passed


def test_the_program_in_an_answer() -> None:
    assert execute.code_in("Here:\n```python\nx = 1\n```\nDone.") == "x = 1\n"
    assert execute.code_in("x = 1") == "x = 1"
    assert execute.code_in("```\ny = 2") == "y = 2"


def test_pass_at_by_hand() -> None:
    assert execute.pass_at(10, 3, 1) == pytest.approx(0.3)
    assert execute.pass_at(5, 1, 5) == 1.0
    assert execute.pass_at(4, 2, 2) == pytest.approx(1 - 1 / 6)


@given(some.integers(1, 60), some.data())
def test_pass_at_rises_with_more_tries(tries: int, data: some.DataObject) -> None:
    right = data.draw(some.integers(0, tries))
    values = [execute.pass_at(tries, right, count) for count in range(1, tries + 1)]
    assert all(0 <= value <= 1 for value in values)
    assert all(later >= before - 1e-12 for before, later in pairwise(values))
