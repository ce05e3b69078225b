"""The command line called in this process, as `main` of the console script calls it."""

import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import Any

import pytest

from metier.cli.app import main


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return loads(self.out)


Call = Callable[..., Result]


@pytest.fixture
def metier(monkeypatch, capsys, tmp_path) -> Iterator[Call]:
    """Call `metier ARGUMENTS…` in a folder (an empty one unless told) and return exit code, stdout and stderr."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: str, folder: Path = tmp_path) -> Result:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["metier", *arguments])
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return Result(int(ended.value.code or 0), output.out, output.err)

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)
