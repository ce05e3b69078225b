"""Graders that are programs: OpenAI's `python` with limits, and a function of the user's own; imports no torch."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from metier.core.errors import SettingsError
from metier.score import execute
from metier.score.graders.places import Shown

Value = float | str
"""A number, or in words why there is none."""

_EACH_SECONDS = 1.0
_START_SECONDS = 60.0
_MOST_BYTES = 1 << 24
_LOOP = """
import json as _json, math as _math, sys as _sys
_said = []
for _row in _json.loads({rows}):
    try:
        _value = float(_call(*_row))
        _said.append(_value if _math.isfinite(_value) else "gave " + repr(_value))
    except BaseException as _error:
        _said.append(type(_error).__name__ + ": " + str(_error)[:200])
_sys.stdout.flush()
print("\\n" + _json.dumps(_said))
"""


def python(source: str, rows: Sequence[Shown]) -> list[Value]:
    """Call `grade(sample, item)` of a program for every row, with limits; a row that fails spoils no other."""
    payload = [(row.sample, row.item) for row in rows]
    seconds = 10.0 + len(rows) * 0.05
    ran = _limited(source, payload, seconds)
    if isinstance(ran, list):
        return ran
    return [_first(_limited(source, [each], 5.0)) for each in payload]


def _first(ran: list[Value] | str) -> Value:
    return ran[0] if isinstance(ran, list) else ran


def _limited(source: str, payload: Sequence[tuple[object, ...]], seconds: float) -> list[Value] | str:
    loop = _LOOP.format(rows=repr(json.dumps(payload)))
    program = f"{source}\ndef _call(sample, item): return grade(sample, item)\n{loop}"
    ran = execute.run(program, execute.Limits(seconds=seconds, file_bytes=_MOST_BYTES), shown=_MOST_BYTES)
    return _read(ran.output, len(payload)) if ran.passed else ran.why


def checker(path: Path, function: str, rows: Sequence[Shown]) -> list[Value]:
    """Call the user's own function for every row in a process of its own; a row that fails spoils no other.

    Raises:
        SettingsError: there is no such file or function, or the program ends before it has seen every row.
    """
    if not path.is_file():
        raise SettingsError(f"graders: no file {path}", "a Python file, relative to metier.yaml")
    payload = json.dumps([(row.sample["output_text"], row.item["reference"], row.item["prompt"]) for row in rows])
    program = (
        f"import runpy, sys\n_found = runpy.run_path({str(path)!r})\n"
        f"if {function!r} not in _found: sys.exit('no function {function} in {path.name}')\n"
        f"def _call(*row): return _found[{function!r}](*row)\n{_LOOP.format(rows='_sys.stdin.read()')}"
    )
    seconds = _START_SECONDS + _EACH_SECONDS * len(rows)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], input=payload, capture_output=True, text=True, cwd=path.parent,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SettingsError(f"{path}: still running after {seconds:.0f} s", "at most a second a row") from error
    found = _read(done.stdout, len(rows)) if done.returncode == 0 else ""
    if isinstance(found, str):
        last = (done.stderr.strip().splitlines() or ["it printed no result"])[-1]
        raise SettingsError(f"{path}: {last}", f"a function {function}(output, reference, prompt) that gives a number")
    return found


def _read(output: str, rows: int) -> list[Value] | str:
    """Return the last line of a program's output, which holds a value for each row."""
    try:
        values = json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return "gave no result"
    return values if isinstance(values, list) and len(values) == rows else "gave no result for each row"
