import json
from pathlib import Path

import pytest

from metier.core.errors import SettingsError
from metier.project import BaseFromConfig, Project, json_schema, load, name_of

SMALLEST = "base: metier-tiny\ndata: {train: examples.jsonl}\n"


def written(folder: Path, text: str | bytes) -> Path:
    data = text.encode() if isinstance(text, str) else text
    (folder / "metier.yaml").write_bytes(data)
    return folder


def refused(folder: Path, *overrides: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(folder, overrides)
    assert caught.value.exit_code == 2
    return caught.value


def test_two_lines_are_a_project(tmp_path):
    project = load(written(tmp_path, SMALLEST))
    assert project.base == "metier-tiny"
    assert project.data.train == "examples.jsonl"
    assert project == Project(base="metier-tiny", data={"train": "examples.jsonl"})


@pytest.mark.parametrize("data", ["examples.jsonl", "[a.jsonl, b.csv]"])
def test_data_may_be_just_the_file_or_files(tmp_path, data):
    project = load(written(tmp_path, f"base: metier-tiny\ndata: {data}\n"))
    assert project.data.train_files == (("examples.jsonl",) if "[" not in data else ("a.jsonl", "b.csv"))


def test_a_short_data_can_be_added_to_from_the_command_line(tmp_path):
    folder = written(tmp_path, "base: metier-tiny\ndata: examples.jsonl\n")
    assert load(folder, ["--data.test", "held-out.jsonl"]).data.test == "held-out.jsonl"


def test_a_base_can_start_from_random_weights(tmp_path):
    project = load(written(tmp_path, "base: {config: my-config}\ndata: a.jsonl\n"))
    assert project.base == BaseFromConfig(config="my-config")


def test_overrides_are_laid_over_the_file(tmp_path):
    folder = written(tmp_path, SMALLEST + "train: {learning_rate: 1e-3}\nseed: 1\n")
    project = load(folder, ["--train.learning-rate", "2e-4", "--model.rank=8", "--seed", "3"])
    assert (project.train.learning_rate, project.model.rank, project.seed) == (2e-4, 8, 3)
    assert load(folder).train.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SMALLEST + "train: {learnig_rate: 1}",
            "metier.yaml: train.learnig_rate: unknown; did you mean 'learning_rate'?",
        ),
        (SMALLEST + "trian: {}", "metier.yaml: trian: unknown; did you mean 'train'?"),
        ("data: a.jsonl", "metier.yaml: base: missing"),
        ("base: metier-tiny", "metier.yaml: data: missing"),
        ("base: [a]\ndata: a", "metier.yaml: base: wanted a bundled name, a folder, a hub id, or {config"),
        ("base: ''\ndata: a", "not an empty text"),
        ("base: {confg: x}\ndata: a", "metier.yaml: base.confg: unknown; did you mean 'config'?"),
        ("base: a\ndata: {trian: x}", "metier.yaml: data.trian: unknown; did you mean 'train'?"),
        (SMALLEST + "seed: -1", "metier.yaml: seed: "),
        (SMALLEST + "name: My Task", "metier.yaml: name: "),
        (SMALLEST + "model: {rank: many}", "metier.yaml: model.rank: "),
        (SMALLEST + "train: {optimiser: {clip: -1}}", "(found -1)"),
        (SMALLEST + "seed: 1\nseed: 2", "metier.yaml:4: 'seed' stands twice"),
        ("base: a\n\tdata: b", "metier.yaml:2: "),
        ("base: 'a", "metier.yaml:1: "),
        ("", "metier.yaml: empty"),
        ("# only a comment", "metier.yaml: empty"),
        ("- a\n- b", "metier.yaml: a list"),
        ("just words", "metier.yaml: a str"),
        (b"base: caf\xe9\n", "metier.yaml: not UTF-8 (byte 9)"),
        ("base: a\x00b", "metier.yaml: not YAML"),
        ("base: !!python/object:os.system x\ndata: a", "metier.yaml:1: could not determine a constructor"),
    ],
)
def test_what_cannot_be_used_is_named_where_it_stands(tmp_path, text, message):
    assert message in str(refused(written(tmp_path, text)))


def test_a_missing_file_says_how_to_make_one(tmp_path):
    error = refused(tmp_path)
    assert str(tmp_path) in error.found
    assert "metier init NAME" in error.do
    assert "no metier.yaml" in refused(tmp_path / "metier.yaml" / "nowhere").found


def test_a_fault_on_the_command_line_is_not_blamed_on_the_file(tmp_path):
    folder = written(tmp_path, SMALLEST)
    assert "command line: train.rnk: unknown" in str(refused(folder, "--train.rnk", "3"))
    assert "metier.yaml: trian" in str(refused(written(tmp_path, SMALLEST + "trian: 1"), "--train.optimiser.clip", "1"))


def test_a_byte_order_mark_does_no_harm(tmp_path):
    assert load(written(tmp_path, b"\xef\xbb\xbf" + SMALLEST.encode())).base == "metier-tiny"


@pytest.mark.parametrize(
    ("folder", "name"),
    [("my-task", "my-task"), ("My Task (v2)", "my-task-v2"), ("ünï", "n"), ("...", "project"), ("x" * 80, "x" * 55)],
)
def test_a_project_is_named_after_its_folder(tmp_path, folder, name):
    project = Project(base="a", data="b")
    assert name_of(project, tmp_path / folder) == name
    assert name_of(project.model_copy(update={"name": "other"}), tmp_path / folder) == "other"


def test_the_schema_describes_every_section_and_both_forms_of_data():
    schema = json.loads(json.dumps(json_schema()))
    assert set(schema["required"]) == {"base", "data"}
    assert schema["properties"].keys() == Project.model_fields.keys()
    assert {"type": "string"} in schema["properties"]["data"]["anyOf"]
    assert schema["additionalProperties"] is False
    assert all("description" in entry for entry in schema["properties"].values())
