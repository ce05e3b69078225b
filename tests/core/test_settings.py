"""Strict settings: unknown names with the nearest known one at any depth, overrides, unions."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from metier.core import settings
from metier.core.errors import SettingsError
from metier.core.settings import Settings


class Inner(Settings):
    learning_rate: float = 1e-3
    """Rate."""

    layers: tuple[int, ...] | Literal["top"] = "top"
    """Layers."""


class Random(Settings):
    config: str
    """Folder."""


class Middle(Settings):
    moved = {"rate": "inner.learning_rate", "maybe": "maybe.layers"}  # noqa: RUF012

    inner: Inner = Inner()
    """Inner."""

    maybe: Inner | None = None
    """Maybe."""


class Outer(Settings):
    base: str | Random
    """Base."""

    name: str | None = None
    """Name."""

    steps: int = Field(1, ge=1)
    """Steps."""

    middle: Middle = Middle()
    """Middle."""


def said(**values: object) -> str:
    with pytest.raises(SettingsError) as caught:
        settings.build(Outer, values, "metier.yaml")
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nam": "x"}, "metier.yaml: nam: unknown; did you mean 'name'?"),
        ({"middel": {}}, "metier.yaml: middel: unknown; did you mean 'middle'?"),
        ({"middle": {"iner": {}}}, "metier.yaml: middle.iner: unknown; did you mean 'inner'?"),
        (
            {"middle": {"inner": {"learnig_rate": 1}}},
            "metier.yaml: middle.inner.learnig_rate: unknown; did you mean 'learning_rate'?",
        ),
        (
            {"middle": {"inner": {"learning-rate": 1}}},
            "metier.yaml: middle.inner.learning-rate: unknown; did you mean 'learning_rate'?",
        ),
        (
            {"middle": {"maybe": {"Layers": "top"}}},
            "metier.yaml: middle.maybe.Layers: unknown; did you mean 'layers'?",
        ),
        ({"zebra": 1}, "metier.yaml: zebra: unknown; do: set one of base, name, steps, middle"),
        ({"my-steps": 1}, "metier.yaml: my-steps: unknown; did you mean 'steps'?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(values, message):
    assert said(base="x", **values) == message


def test_a_name_that_has_moved_says_where_to():
    assert said(base="x", middle={"rate": 1}) == "metier.yaml: middle.rate: is middle.inner.learning_rate now"
    assert said(base="x", middle={"maybe": "top"}) == "metier.yaml: middle.maybe: is middle.maybe.layers now"
    assert "wanted" not in said(base="x", middle={"inner": 3})


def test_a_branch_of_a_union_is_searched_too():
    assert "base.confg: unknown; did you mean 'config'?" in said(base={"confg": "x"})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": "many"}, ["steps", "valid integer", "'many'"]),
        ({"steps": 0}, ["steps", "greater than or equal to 1", "0"]),
        ({"steps": 1.5}, ["steps", "1.5"]),
        ({"middle": 3}, ["middle", "3"]),
        ({"middle": {"inner": {"learning_rate": "fast"}}}, ["middle.inner.learning_rate", "number", "'fast'"]),
        ({"middle": {"inner": {"layers": "bottom"}}}, ["middle.inner.layers", "'top'", "'bottom'"]),
        ({"middle": {"inner": {"layers": [1, "two"]}}}, ["middle.inner.layers", "'two'"]),
    ],
)
def test_a_wrong_type_or_range_says_where_and_what(values, words):
    message = said(base="x", **values)
    assert message.startswith("metier.yaml: ")
    for word in words:
        assert word in message
    assert "; do: set " in message


def test_what_may_stand_there_is_told_with_what_it_is_when_left_out():
    assert said(base="x", steps="many").endswith("do: set steps. Steps. Left out: 1.")
    assert said(base="x", name=5).endswith("do: set name. Name. Left out: null.")
    assert said(base="x", middle=3).endswith("such as middle.inner (found 3); do: set middle. Middle.")


def test_a_value_of_no_kind_that_is_taken_is_one_fault():
    message = said(base="x", middle={"inner": {"layers": "bottom"}})
    assert message.count("middle.inner.layers: ") == 1
    assert ", or 'top' (found 'bottom')" in message


def test_what_every_project_needs_is_missed_by_name():
    assert said() == "metier.yaml: base: missing; every project needs it"


def test_all_faults_are_told_at_once():
    message = said(base="x", nam="y", steps=0)
    assert "nam" in message
    assert "steps" in message


def test_good_values_pass_through_every_union():
    assert settings.build(Outer, {"base": "x"}, "").base == "x"
    assert settings.build(Outer, {"base": {"config": "f"}}, "").base == Random(config="f")
    built = settings.build(Outer, {"base": "x", "middle": {"maybe": {"layers": [3, 1]}}}, "")
    assert built.middle.maybe is not None
    assert built.middle.maybe.layers == (3, 1)


def test_settings_do_not_change_once_made():
    with pytest.raises(ValidationError):
        Inner().learning_rate = 2.0  # type: ignore[misc]


def test_overrides_become_nested_values():
    arguments = ["--train.learning-rate", "2e-4", "--model.rank=8", "--name", "my-task", "--train.patience", "null"]
    assert settings.parse_overrides(arguments) == {
        "train": {"learning_rate": 2e-4, "patience": None},
        "model": {"rank": 8},
        "name": "my-task",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("-1", -1),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("{config: here}", {"config": "here"}),
        ("metier-tiny", "metier-tiny"),
        ("2026-13-45", "2026-13-45"),
        ("org/name-7b", "org/name-7b"),
        ("a: b: c", "a: b: c"),
        ("!!python/object:os.system", "!!python/object:os.system"),
        ("", None),
    ],
)
def test_values_are_read_as_yaml(text, value):
    read = settings.read_scalar(text)
    assert read == value
    assert type(read) is type(value)


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text):
    settings.read_scalar(text)


def test_a_bottomless_value_is_a_text():
    assert settings.read_scalar("[" * 2000) == "[" * 2000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train.rank", "8"], "argument 'train.rank'"),
        (["--"], "argument '--'"),
        (["--train.rank"], "--train.rank has no value"),
        (["--train", "5", "--train.rank", "1"], "--train has a value and --train.rank asks for a part of it"),
    ],
)
def test_an_override_of_another_form_is_refused(arguments, words):
    with pytest.raises(SettingsError, match=words):
        settings.parse_overrides(arguments)


def test_an_unknown_override_names_the_nearest():
    with pytest.raises(SettingsError, match=r"middle\.inner\.learning_rat: unknown; did you mean 'learning_rate'"):
        settings.build(
            Outer, {"base": "x"} | settings.parse_overrides(["--middle.inner.learning-rat", "1"]), "command line"
        )


def test_overrides_are_laid_over_the_file_and_leave_the_rest():
    file = {"train": {"rate": 1, "steps": 2}, "data": {"train": "a"}, "name": "x"}
    over = {"train": {"rate": 3}, "data": "b", "model": {"rank": 1}}
    before = repr(file)
    assert settings.merge(file, over) == {
        "train": {"rate": 3, "steps": 2},
        "data": "b",
        "name": "x",
        "model": {"rank": 1},
    }
    assert repr(file) == before


def test_the_settings_class_inside_an_annotation():
    assert settings.model_in(Inner | None) is Inner
    assert settings.model_in(str | Random) is Random
    assert settings.model_in(str | None) is None
    assert settings.model_in(Inner) is Inner
