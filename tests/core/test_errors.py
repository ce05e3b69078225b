"""Errors say found, wanted and do, and end the program with the right number."""

import copy
import inspect

import pytest

from metier.core import errors
from metier.core.errors import MetierError

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MetierError)]
CODES = {
    "MetierError": 3,
    "InputError": 2,
    "SettingsError": 2,
    "DataError": 2,
    "ModelError": 2,
    "ProofError": 2,
    "MissingExtraError": 2,
    "AnswerNo": 1,
    "GateError": 1,
    "ParityError": 1,
    "SignatureError": 1,
    "VerificationError": 1,
    "RunError": 3,
    "NonFiniteError": 3,
    "DivergenceError": 3,
    "LossSpikeError": 3,
    "DiskFullError": 3,
    "BusyError": 3,
    "LockedError": 3,
    "InterruptedRun": 75,
}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_its_exit_code_and_its_three_parts(kind):
    error = kind("train.jsonl:3: no text", "a text", "write one")
    assert error.exit_code == CODES[kind.__name__]
    assert (error.found, error.wanted, error.do) == ("train.jsonl:3: no text", "a text", "write one")
    assert str(error) == "train.jsonl:3: no text; wanted: a text; do: write one"
    assert str(copy.copy(error)) == str(error)


def test_no_error_is_without_a_code():
    assert {kind.__name__ for kind in CLASSES} == set(CODES)


def test_parts_that_are_empty_are_not_said():
    assert str(MetierError("found")) == "found"
    assert str(MetierError("found", do="this")) == "found; do: this"
    assert str(MetierError("found", "that")) == "found; wanted: that"


def test_the_tree_in_the_first_lines_is_the_tree():
    told = {line.split()[-0].strip("│├└─ "): line for line in (errors.__doc__ or "").splitlines() if "Error" in line}
    for kind in CLASSES:
        assert any(kind.__name__ in line for line in (errors.__doc__ or "").splitlines()), kind.__name__
    assert told


def test_errors_can_be_caught_as_what_python_calls_them():
    assert issubclass(errors.DataError, ValueError)
    assert issubclass(errors.MissingExtraError, ImportError)
    assert issubclass(errors.DiskFullError, OSError)
