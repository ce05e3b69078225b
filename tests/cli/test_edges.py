import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer

from metier.cli.boundary import Boundary, understood
from metier.cli.desk import check_names
from metier.core.errors import AnswerNo, DataError, InterruptedRun, MetierError, RunError, SettingsError

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "COLUMNS": "100"}


def ended(error: BaseException, *, as_json: bool = False) -> int:
    with pytest.raises(SystemExit) as caught, Boundary(as_json=as_json):
        raise error
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("f", "w", "d"), 2),
        (AnswerNo("no"), 1),
        (RunError("r"), 3),
        (InterruptedRun("i"), 75),
        (typer.BadParameter("b"), 2),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
        (MemoryError(), 3),
        (PermissionError(errno.EACCES, "Permission denied", "/place"), 3),
        (OSError(errno.ENOSPC, "No space left on device", "/place"), 3),
        (ZeroDivisionError("ours"), 3),
    ],
)
def test_every_error_has_its_exit_code_in_words_and_in_json(capsys, error, code):
    assert ended(error) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert ("Traceback" in output.err) == isinstance(error, ZeroDivisionError)
    assert ended(error, as_json=True) == code
    document = json.loads(capsys.readouterr().out)
    assert document["error"]["exit_code"] == code
    assert set(document["error"]) == {"found", "wanted", "do", "exit_code"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "/place: no space left"),
        (errno.EFBIG, "/place: larger than the file system takes a file to be"),
        (errno.EDQUOT, "/place: the disk quota is used up"),
        (errno.EACCES, "give this user the right to write there"),
        (errno.EROFS, "mount it for writing"),
    ],
)
def test_what_the_machine_refuses_is_told_with_what_to_do(capsys, code, words):
    assert ended(OSError(code, os.strerror(code), "/place")) == 3
    assert words in " ".join(capsys.readouterr().err.split())
    assert ended(OSError(code, os.strerror(code))) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_our_bugs_ask_to_be_reported(capsys):
    ended(KeyError("ours"))
    text = capsys.readouterr().err
    assert "KeyError" in text
    assert "bug in metier" in text


def test_a_full_memory_says_what_to_lower():
    class OutOfMemoryError(RuntimeError):
        """What torch calls it."""

    for error in (OutOfMemoryError("CUDA"), MemoryError()):
        known = understood(error)
        assert isinstance(known, MetierError)
        assert "micro_batch_tokens" in known.do
    assert understood(RuntimeError("else")) is None


def test_what_ends_well_is_left_alone():
    with Boundary(as_json=False):
        pass
    with pytest.raises(SystemExit) as caught, Boundary(as_json=False):
        raise SystemExit(7)
    assert caught.value.code == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--projct", "x"], "did you mean --project?"),
        (["--trian.optimiser.clip", "1"], "did you mean --train"),
        (["--clip", "1"], "did you mean --train.optimiser.clip?"),
        (["--learning-rate", "3"], "did you mean --train.learning-rate?"),
        (["--port", "8080"], "did you mean --serve.port?"),
        (
            ["--max_new_tokens=3"],
            "did you mean --train.objective.reinforce.max-new-tokens or --train.check.max-new-tokens or "
            "--advise.max-new-tokens or --evaluate.max-new-tokens?",
        ),
        (["--xyzzy=3"], "--help after the command"),
        (["-x"], "option -x: unknown"),
    ],
)
def test_a_misspelt_option_is_not_taken_for_a_setting(arguments, message):
    with pytest.raises(SettingsError) as caught:
        check_names(arguments, ["--project", "--json"])
    assert message in str(caught.value)


def test_settings_and_their_values_are_let_through():
    check_names(["--train.optimiser.clip", "-1", "--seed=3", "--text.system", "--odd value--", "stray"], ["--project"])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["trian"], "Did you mean 'train'"),
        (["compare", "a"], "Missing argument 'B'"),
        (["prepare", "--show", "many"], "--show"),
        (["run", "stray"], "'stray'"),
        (["run", "--train.optimiser.clip"], "has no value"),
        (["run"], "no metier.yaml"),
        (["run", "--project", "nowhere"], "no metier.yaml"),
        (["compare", "a", "b"], "no metier.yaml"),
        (["init"], "Missing argument 'NAME'"),
    ],
)
def test_a_wrong_command_line_exits_2_in_words_and_in_json(metier, arguments, part):
    result = metier(*arguments)
    assert result.code == 2
    assert part in " ".join(result.err.split())
    assert "Traceback" not in result.err
    document = metier(*arguments, "--json")
    assert document.code == 2
    assert document.err == ""
    assert document.json["error"]["exit_code"] == 2


def test_a_reader_that_goes_away_hears_nothing_more():
    command = f"{sys.executable} -m metier schema | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.stdout == '{\n "$schem'
    assert done.stderr == ""


def test_a_terminal_without_our_signs_is_no_reason_to_fail():
    done = subprocess.run(
        [sys.executable, "-m", "metier", "doctor"],
        capture_output=True,
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode in {0, 1}
    assert b"This machine" in done.stdout


def test_help_answers_at_once_and_without_torch():
    code = (
        "import sys; sys.argv = ['metier', '--help']\n"
        "try:\n    from metier.cli.app import main; main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'pydantic', 'numpy', 'matplotlib', 'yaml'} & set(sys.modules)))"
    )
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.stdout.splitlines()[-1] == "[]"
    assert min(times) < 0.3, "processor time, so that other work on the machine does not count"


def test_training_does_without_the_library_of_distributions():
    heavy = "{'scipy.stats', 'sklearn', 'pandas'}"
    code = f"import sys; import metier.flow.training; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert done.stdout.splitlines()[-1] == "[]", "half a second and 22 MB of every start"


@contextmanager
def waiting(body: str) -> Iterator[subprocess.Popen]:
    """A process of ours that has said `ready` and sleeps."""
    code = (
        "import time\nfrom metier.cli.boundary import Boundary, Interrupts\n"
        f"Interrupts().listen()\nwith Boundary(as_json=False):\n    {body}\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_ends_in_words(number):
    with waiting("print('ready', flush=True); time.sleep(60)") as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command to go on" in err
    assert "Traceback" not in err


def test_ctrl_c_twice_ends_on_the_spot_even_while_tidying_up():
    body = (
        "try:\n        print('ready', flush=True); time.sleep(60)\n"
        "    finally:\n        print('tidying', flush=True); time.sleep(60)"
    )
    with waiting(body) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "tidying\n"
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 30
    assert "Traceback" not in err
