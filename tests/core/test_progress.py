"""The listener that hears nothing is a listener."""

import pytest

from metier.core.progress import Progress, Silent, Task
from metier.core.types import Reasoned


def work(progress: Progress) -> int:
    progress.say("starting")
    progress.chose(Reasoned(name="threads", value=2, reason="as many as there are"))
    done = 0
    with progress.task("count", 3, done=1) as bar:
        task: Task = bar
        for _ in range(2):
            task.advance()
            task.advance(1, {"loss": 0.5})
            done += 1
    return done


def test_silence_changes_nothing_and_says_nothing(capsys):
    assert work(Silent()) == 2
    assert capsys.readouterr() == ("", "")


def test_an_error_passes_through_a_bar():
    with pytest.raises(ValueError, match="mine"), Silent().task("x", 1):
        raise ValueError("mine")
