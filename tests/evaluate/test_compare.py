import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from metier.core import artefact
from metier.core.errors import DataError
from metier.evaluate import stored
from metier.evaluate.compare import compare
from tests.evaluate.conftest import Workplace


@pytest.fixture
def other(spoiled: Workplace) -> Path:
    """A second run beside the first, whose tuned model never says "red" and has other weights."""
    folder = Path(shutil.copytree(spoiled.run, spoiled.run.parent / "colours-2"))
    change(folder, digest="another", answer=lambda text: "blue" if text == "red" else text)
    return folder


def change(run: Path, *, digest: str | None = None, answer: Any = None, **conditions: Any) -> None:
    """Publish a run's evaluation again with something changed."""
    evaluation = stored.read(run)
    folder = run / stored.FOLDER
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name != artefact.MANIFEST}
    facts = evaluation.facts
    facts["conditions"] |= conditions
    if digest is not None:
        facts["conditions"]["tuned"] = {"name": run.name, "digest": digest}
    rows = [json.loads(line) for line in texts["answers.jsonl"].splitlines()]
    for row in rows:
        if answer is not None and row["model"] == "tuned":
            row["output"] = answer(row["output"])
    texts["evaluation.json"] = json.dumps(facts)
    texts["answers.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows)
    with artefact.publish(folder, kind=stored.KIND) as target:
        for name, text in texts.items():
            (target / name).write_text(text, encoding="utf-8")


def test_the_same_thing_twice_is_identical(spoiled: Workplace) -> None:
    for first, second in ((spoiled.run, spoiled.run), (None, None)):
        report = compare(first, second)
        assert report.verdict.text.startswith("identical")
        assert report.verdict.good is None


def test_a_copy_of_a_run_is_identical_to_it(spoiled: Workplace) -> None:
    copy = Path(shutil.copytree(spoiled.run, spoiled.run.parent / "colours-2"))
    assert compare(spoiled.run, copy).verdict.text == "identical: the same weights, byte for byte"


def test_other_weights_with_the_same_answers_are_identical_in_what_they_say(spoiled: Workplace) -> None:
    copy = Path(shutil.copytree(spoiled.run, spoiled.run.parent / "colours-2"))
    change(copy, digest="another")
    report = compare(spoiled.run, copy)
    assert report.verdict.text.startswith("identical: the same answer, byte for byte")


def test_base_against_a_run_is_the_run_s_evaluation_and_the_reverse_its_mirror(
    spoiled: Workplace, evaluated: dict[str, Any]
) -> None:
    there, back = compare(None, spoiled.run), compare(spoiled.run, None)
    assert there.verdict.good is True
    assert back.verdict.good is False
    assert there.verdict.text.startswith("better")
    assert back.verdict.text.startswith("worse")
    value = evaluated["verdict"]["tuned"]["value"]
    assert f"{100 * value:.1f} %" in there.verdict.text
    assert there.command == "metier compare base colours-1"


def test_two_runs(spoiled: Workplace, other: Path) -> None:
    report = compare(spoiled.run, other)
    assert report.verdict.text.startswith("worse: accuracy")
    assert "(colours-2)" in report.verdict.text
    assert dict(report.facts)["right only in colours-2"] == 0
    assert report.examples[0].reference == "red"
    assert dict(report.examples[0].outputs)["colours-2"] == "blue"
    assert "colours-1 had this right" in report.examples[0].note
    assert compare(other, spoiled.run).verdict.text.startswith("better: accuracy")


@pytest.mark.parametrize("name", ["split", "snapshot", "rows_digest"])
def test_other_rows_are_refused(spoiled: Workplace, other: Path, name: str) -> None:
    change(other, **{name: "something else"})
    with pytest.raises(DataError, match=f"different conditions: {name.removesuffix('_digest')}"):
        compare(spoiled.run, other)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("renderer", "template"),
        ("precision", "number format"),
        ("device", "device"),
        ("batches", "batch plan"),
        ("decoding", "decoding"),
    ],
)
def test_rows_asked_under_other_conditions_get_no_verdict(
    spoiled: Workplace, other: Path, name: str, told: str
) -> None:
    assert compare(spoiled.run, other).verdict.text.startswith("worse")
    change(other, **{name: "something else"})
    report = compare(spoiled.run, other)
    assert report.verdict.good is None
    assert report.verdict.text.startswith("cannot tell")
    assert f"asked under conditions that differ: {told}" in report.verdict.text


def test_two_bases_with_other_tokens_have_templates_and_limits_of_their_own(spoiled: Workplace, other: Path) -> None:
    decoding = {"kind": "greedy", "max_new_tokens": 99, "stop_ids": [2]}
    change(other, tokenizer="another", renderer="another", batches="others", decoding=decoding)
    assert compare(spoiled.run, other).verdict.text.startswith("worse")


def test_a_run_that_was_not_evaluated_is_refused(spoiled: Workplace) -> None:
    shutil.rmtree(spoiled.run / stored.FOLDER)
    with pytest.raises(DataError, match="run colours-1: no evaluation"):
        compare(None, spoiled.run)


def test_a_changed_evaluation_is_refused(spoiled: Workplace) -> None:
    path = spoiled.run / stored.FOLDER / "answers.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("red", "rad"), encoding="utf-8")
    with pytest.raises(DataError, match="changed since it was written"):
        compare(None, spoiled.run)


def test_an_evaluation_in_another_form_is_refused(spoiled: Workplace) -> None:
    folder = spoiled.run / stored.FOLDER
    facts = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    names = [path.name for path in folder.iterdir() if path.name != artefact.MANIFEST]
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    texts["evaluation.json"] = json.dumps(facts | {"version": 99})
    with artefact.publish(folder, kind=stored.KIND) as target:
        for name, text in texts.items():
            (target / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="written in form 99"):
        compare(None, spoiled.run)
