"""The whole of `advise` on a tiny random base: what it measures, what it must not see, what it leaves."""

import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import yaml

from metier import flow
from metier.advise import measure
from metier.advise.ask import started
from metier.advise.job import make
from metier.advise.measure import Seat, labels
from metier.advise.report import read, report
from metier.advise.run import Where, advise
from metier.advise.settings import AdviseSettings
from metier.advise.trainings import affordable, trained
from metier.advise.ways import NotMeasured
from metier.core import artefact
from metier.core.errors import DataError, InputError
from metier.core.progress import Silent
from metier.model.find import find
from metier.report.page import page_of
from metier.report.terminal import show
from metier.text.render import open_renderer
from metier.text.rows import load_split
from metier.text.settings import TextSettings
from tests.cli.workshop import make_project, opened

QUICK = (
    "--advise.rows", "6", "--advise.steps", "1", "--advise.shots", "2", "--advise.max-new-tokens", "3",
    "--prepare.validation-share", "0.3",
)  # fmt: skip


def advise_on(folder: Path, *arguments: str) -> flow.Stage:
    return flow.advise(opened(folder, *arguments))


@cache
def advised(base: Path) -> tuple[Path, dict]:
    """Return a project that was advised on, and its advice."""
    folder = make_project(Path(mkdtemp()) / "colours", base)
    stage = advise_on(folder, *QUICK)
    return folder, read(stage.path)


def no_training(snapshot: Path, base: object, run: Path, steps: int) -> Path:
    raise AssertionError("nothing is trained here")


def where(snapshot: Path, base: Path, store: Path) -> Where:
    return Where(
        snapshot=snapshot, bases=(find(str(base), base),), folder=store, store=store, text=TextSettings(),
        values={"base": str(base), "data": "x.jsonl"}, taught="",
    )  # fmt: skip


def advice_of(snapshot: Path, base: Path, store: Path, **settings) -> dict:
    chosen = {"rows": 4, "steps": 0, "shots": 0, "max_new_tokens": 2} | settings
    return read(advise(where(snapshot, base, store), AdviseSettings(**chosen), no_training, Silent()))


def absent(facts: dict, name: str) -> str:
    return next(entry["why"] for entry in facts["not_measured"] if name in entry["name"])


def test_a_task_that_a_neighbour_solves_is_not_tuned(tiny_base):
    _, facts = advised(tiny_base)
    assert facts["answer"] == "do not tune"
    assert "Do not fine-tune" in facts["verdict"]["text"]
    chosen = next(way for way in facts["ways"] if way["name"] == facts["chosen"])
    assert (chosen["family"], chosen["score"]) == ("plain", 1.0)


def test_every_way_is_measured_or_says_why_not(tiny_base):
    _, facts = advised(tiny_base)
    names = " | ".join(way["name"] for way in facts["ways"])
    for part in ("commonest", "nearest row", "logistic", "as it is", "best instruction", "fixed", "nearest examples"):
        assert part in names
    assert sum(way["family"] == "tuned" for way in facts["ways"]) == 3
    assert "raise advise.seconds" in absent(facts, "data still needed")
    assert "names no local model" in absent(facts, "sentence embeddings")
    assert "names none" in absent(facts, "passages of documents")


def test_a_base_that_cannot_follow_the_format_is_never_advised(tiny_base):
    _, facts = advised(tiny_base)
    prompted = [way for way in facts["ways"] if way["family"] == "prompt"]
    assert prompted
    assert all(way["in_form"] == 0 and way["name"] != facts["chosen"] for way in prompted)
    assert any("form of the task" in text for text in facts["would_change"])


def test_the_advice_has_three_faces_and_a_project_that_loads(tiny_base, tmp_path, capsys):
    folder, facts = advised(tiny_base)
    target = folder / ".metier" / "advice"
    artefact.verify(target, "advice")
    assert "Do not fine-tune" in (target / "report.html").read_text()
    assert (target / "report.md").read_text().startswith("# Advice")
    from rich.console import Console

    show(page_of(report(facts)), Console(width=120))
    assert "What would change this" in capsys.readouterr().out
    written = (target / "metier.yaml").read_text()
    assert written.startswith("# What metier advise recommends: nearest row")
    assert yaml.safe_load(written) == yaml.safe_load((folder / "metier.yaml").read_text())


def test_the_best_prompt_is_a_file_that_compare_reads(tiny_base):
    from metier.evaluate.opponents.prompted import read as read_prompt

    folder, facts = advised(tiny_base)
    prompting = read_prompt(folder / ".metier" / "advice" / "prompt.yaml")
    assert prompting.system in {way["instruction"] for way in facts["ways"]}


def test_the_sealed_test_is_not_opened_and_trainings_see_training_rows_only(tiny_base):
    folder, facts = advised(tiny_base)
    assert facts["conditions"]["split"] == "validation"
    assert not (folder / ".metier" / "test-openings.jsonl").exists()
    (snapshot,) = (folder / ".metier" / "snapshots").iterdir()
    train = {row.id for row in load_split(snapshot, "train")}
    portions = sorted((folder / ".metier" / "cache").glob("advice-*/portion-*"))
    assert len(portions) == 3
    for portion in portions:
        assert {row.id for row in load_split(portion, "train")} <= train
        assert load_split(portion, "validation") == load_split(portion, "test") == []


def relabelled(snapshot: Path, target: Path) -> Path:
    """Copy a snapshot with every validation answer made another one."""
    lines = (snapshot / "validation.jsonl").read_text().splitlines()
    with artefact.publish(target, kind="snapshot", facts=artefact.read(snapshot).facts) as folder:
        for name in ("train", "test"):
            (folder / f"{name}.jsonl").write_bytes((snapshot / f"{name}.jsonl").read_bytes())
        changed = [json.loads(line) for line in lines]
        for record in changed:
            record["messages"][-1]["content"] = "purple"
        (folder / "validation.jsonl").write_text("".join(json.dumps(record) + "\n" for record in changed))
    return target


def test_no_way_can_see_the_held_out_answers(tiny_base, tiny_snapshot, tmp_path, monkeypatch):
    heard: list[list[tuple[str, tuple[str, ...]]]] = []

    def listening(task, *args):
        found = [*without(task, *args)]
        heard.append([(entry.name, entry.outputs) for entry in found if hasattr(entry, "outputs")])
        assert all(message.role != "assistant" for question in task.asked for message in question.messages)
        return found

    without = measure.without_model
    monkeypatch.setattr(measure, "without_model", listening)
    facts = advice_of(tiny_snapshot, tiny_base, tmp_path / "a")
    other = advice_of(relabelled(tiny_snapshot, tmp_path / "s"), tiny_base, tmp_path / "b")
    assert heard[0] == heard[1], "what is answered does not depend on what is right"
    score = {way["name"]: way["score"] for way in facts["ways"]}
    assert score["nearest row, TF-IDF"] == 1.0
    assert all(way["score"] == 0.0 for way in other["ways"]), "and a wrong answer scores nothing"


def test_documents_embeddings_and_instructions_are_measured_where_named(tiny_base, tiny_snapshot, tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    from tests.conftest import write_tokenizer

    (tmp_path / "pages.md").write_text("An item is red, green, blue or grey.")
    (tmp_path / "static").mkdir()
    write_tokenizer(tmp_path / "static")
    save_file({"embeddings": np.eye(268, dtype=np.float32)}, tmp_path / "static" / "model.safetensors")
    facts = advice_of(
        tiny_snapshot, tiny_base, tmp_path, shots=1, documents=("pages.md",), passages=1, embeddings="static",
        instructions=("Say the colour.",), target=0.5, bases=(),
    )  # fmt: skip
    names = {way["name"].rpartition(": ")[2] for way in facts["ways"]}
    both = "passages of documents (BM25 and embeddings)"
    assert {both, "nearest examples and passages", "nearest row, embeddings"} <= names
    tried = next(way for way in facts["ways"] if "best instruction" in way["name"])
    assert "the best of 3" in tried["detail"]
    assert absent(facts, "quick training") == "advise.steps is 0"
    with pytest.raises(InputError, match=r"advise\.documents"):
        advice_of(tiny_snapshot, tiny_base, tmp_path, documents=("gone.md",))


def test_when_the_time_is_over_the_rest_is_not_measured(tiny_base, tiny_snapshot, tmp_path):
    facts = advice_of(tiny_snapshot, tiny_base, tmp_path, seconds=1e-6, steps=1)
    assert {way["family"] for way in facts["ways"]} == {"plain"}
    assert "seconds of advise.seconds were spent" in absent(facts, str(tiny_base.name))
    assert started(0.0001).left <= 0.0001


def test_prompts_of_a_slow_base_leave_time_for_its_trainings():
    clock = started(100.0)
    assert 49 < clock.half().left <= 50
    assert clock.half().over() == "half of the 100 seconds of advise.seconds were spent"
    assert clock.over(" after 3") == "the 100 seconds of advise.seconds were spent after 3"


def test_a_second_base_is_asked_and_trained_too(tiny_base, tmp_path):
    folder = make_project(tmp_path / "colours", tiny_base)
    second = shutil.copytree(tiny_base, tmp_path / "second")
    (tmp_path / "pages.md").write_text("An item is red, green, blue or grey.")
    more = ("--advise.shots", "0", "--advise.bases", json.dumps([str(second)]), "--advise.documents", '["../pages.md"]')
    facts = read(advise_on(folder, *QUICK, *more).path)
    assert len(facts["conditions"]["bases"]) == 2
    trained = [way["name"] for way in facts["ways"] if way["family"] == "tuned"]
    assert sum(name.startswith("second: ") for name in trained) == 4
    assert sum("with passages" in name for name in trained) == 2, "training and retrieval together are a way, too"


def test_a_snapshot_without_validation_rows_is_refused(tiny_base, tiny_snapshot, tmp_path):
    with artefact.publish(tmp_path / "s", kind="snapshot", facts=artefact.read(tiny_snapshot).facts) as folder:
        (folder / "train.jsonl").write_bytes((tiny_snapshot / "train.jsonl").read_bytes())
        (folder / "validation.jsonl").write_text("")
    with pytest.raises(DataError, match="no validation rows"):
        advice_of(tmp_path / "s", tiny_base, tmp_path)


def test_the_time_that_is_left_decides_how_long_a_quick_training_is():
    """A slow machine trains less, and few rows are not gone over again and again."""
    assert affordable(2.0, 600.0, 100_000) == 1280
    assert affordable(4.0, 600.0, 100_000) == 640
    assert affordable(4.2, 871.0, 100_000) == 960, "not 640: a third of the time would be left over"
    assert affordable(2.0, 600.0, 1000) == 160, "three epochs"
    assert affordable(100.0, 60.0, 100_000) == affordable(2.0, 600.0, 10) == 40


def test_what_a_trial_said_is_remembered(tiny_base, tiny_snapshot, tmp_path):
    asked: list[tuple[str, int]] = []

    def teach(snapshot: Path, base: object, run: Path, steps: int) -> Path:
        asked.append((run.name, steps))
        raise InputError("no training here")

    renderer = open_renderer(tiny_base, TextSettings())
    job, _ = make(tiny_snapshot, renderer, AdviseSettings(rows=4), folder=tmp_path, seed=0)
    base = find(str(tiny_base), tmp_path)
    seat = Seat(base=base, label="b", renderer=renderer, clock=started(60), progress=Silent())
    found = trained(seat, job, teach, snapshot=tiny_snapshot, work=tmp_path, part=1.0)
    assert [entry.why for entry in found if isinstance(entry, NotMeasured)] == ["no training here"] * 3
    assert asked == [("portion-100-20", 20), ("portion-25-40", 40), ("portion-50-40", 40), ("portion-100-40", 40)]
    (tmp_path / "steps.json").write_text('{"steps": 7}')
    asked.clear()
    trained(seat, job, teach, snapshot=tiny_snapshot, work=tmp_path, part=1.0)
    assert asked == [("portion-25-7", 7), ("portion-50-7", 7), ("portion-100-7", 7)]


def test_bases_in_folders_are_called_by_their_last_part_unless_two_end_alike():
    assert labels(["metier-tiny", "/a/b/one", "/a/two"]) == ["metier-tiny", "one", "two"]
    assert labels(["/a/one", "/b/one", "x"]) == ["/a/one", "/b/one", "x"]
