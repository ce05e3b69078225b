"""Configurations of other trainers become projects, and what is left behind is said with its reason."""

import json

import pytest
import yaml

from metier.cli.adopt.project import adopt
from metier.core.errors import InputError
from metier.project import load
from metier.train.settings import TrainSettings

AXOLOTL = """
base_model: org/small
datasets:
  - path: rows.jsonl
    type: alpaca
  - path: org/set
    split: train[:10]
    type: alpaca
test_datasets:
  - path: held.jsonl
val_set_size: 0.05
sequence_len: 1024
sample_packing: true
adapter: qlora
lora_r: 8
lora_alpha: 16
lora_target_modules: [q_proj, v_proj]
peft_use_dora: true
micro_batch_size: 2
gradient_accumulation_steps: 4
num_epochs: 3
optimizer: adamw_bnb_8bit
lr_scheduler: cosine
learning_rate: 2e-4
warmup_steps: 10
weight_decay: 0.0
bf16: auto
gradient_checkpointing: true
flash_attention: true
wandb_project: x
chat_template: chatml
deepspeed: zero2.json
something_new: 1
"""


def write(folder, text):
    for name in ("rows.jsonl", "held.jsonl"):
        (folder / name).write_text('{"instruction": "a", "output": "b"}\n')
    (folder / "theirs.yml").write_text(text)
    return folder / "theirs.yml"


def test_axolotl(tmp_path):
    found = adopt(write(tmp_path, AXOLOTL), tmp_path / "ours")
    project = load(tmp_path / "ours")
    assert project.base == "org/small"
    assert project.data.train == ("../rows.jsonl", "hub:org/set")
    assert project.data.test == "../held.jsonl"
    assert project.prepare.format == "alpaca"
    assert (project.prepare.validation_share, project.text.max_tokens) == (0.05, 1024)
    assert (project.model.method, project.model.quantise) == ("lora", "nf4-double")
    assert (project.model.rank, project.model.alpha, project.model.lora.dora) == (8, 16, True)
    assert project.model.targets == ("q_proj", "v_proj")
    assert (project.train.rows_per_step, project.train.epochs, project.train.learning_rate) == (8, 3, 2e-4)
    assert (project.train.optimiser.name, project.train.schedule.shape) == ("adamw-8bit", "cosine")
    left = dict(found.left)
    assert "sample_packing" in left
    assert left["warmup_steps"].startswith("the warm-up is a share of all steps")
    assert left["deepspeed"] == "one device"
    assert left["something_new"] == "not known here"
    assert left["chat_template"].startswith("the base's own template")


def test_axolotl_with_fields_of_its_own(tmp_path):
    kind = {"field_instruction": "q", "field_output": "a", "format": "[INST] {instruction}"}
    text = yaml.safe_dump({"base_model": "b", "datasets": [{"path": "rows.jsonl", "type": kind}]})
    adopt(write(tmp_path, text), tmp_path / "ours")
    project = load(tmp_path / "ours")
    assert project.prepare.columns == {"instruction": "q", "output": "a"}
    assert project.model.method == "full"


FACTORY = """
model_name_or_path: org/small
stage: sft
do_train: true
finetuning_type: lora
lora_target: all
lora_rank: 8
dataset: mine,theirs
dataset_dir: data
eval_dataset: held
template: llama3
cutoff_len: 2048
max_samples: 1000
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
val_size: 0.7
"""
REGISTERED = {
    "mine": {"file_name": "rows.jsonl", "columns": {"prompt": "q", "response": "a", "history": "h"}},
    "theirs": {"hf_hub_url": "org/set", "columns": {"prompt": "q", "response": "a"}},
    "held": {"file_name": "rows.jsonl"},
}


def test_llama_factory_with_its_registered_data(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text("{}\n")
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(REGISTERED))
    (tmp_path / "theirs.yaml").write_text(FACTORY)
    found = adopt(tmp_path / "theirs.yaml", tmp_path / "ours")
    project = load(tmp_path / "ours")
    assert project.data.train == ("../data/rows.jsonl", "hub:org/set")
    assert project.data.test == "../data/rows.jsonl"
    assert project.prepare.format == "alpaca"
    assert project.prepare.columns == {"instruction": "q", "output": "a"}
    assert (project.prepare.max_rows, project.text.max_tokens) == (1000, 2048)
    assert (project.train.rows_per_step, project.train.schedule.warmup) == (8, 0.1)
    left = dict(found.left)
    assert left["mine.columns.history"] == "no counterpart"
    assert "no counterpart" in left["val_size"]
    assert "template" in left


TAGS = {"role_tag": "role", "content_tag": "content"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"formatting": "sharegpt", "columns": {"messages": "talk"}}, ("sharegpt", {"conversations": "talk"})),
        ({"formatting": "sharegpt", "columns": {"messages": "talk"}, "tags": TAGS},
         ("chat", {"messages": "talk"})),
        ({"ranking": True, "columns": {"prompt": "q", "chosen": "c", "rejected": "r"}},
         ("preference", {"prompt": "q", "chosen": "c", "rejected": "r"})),
    ],
)  # fmt: skip
def test_formattings_of_llama_factory(tmp_path, entry, expected):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text("{}\n")
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "rows.jsonl"} | entry}))
    (tmp_path / "theirs.yaml").write_text("model_name_or_path: b\ndataset: mine\n")
    adopt(tmp_path / "theirs.yaml", tmp_path / "ours")
    project = load(tmp_path / "ours")
    assert (project.prepare.format, project.prepare.columns) == expected


def test_values_that_are_refused_are_left_behind(tmp_path):
    text = "base_model: b\ndatasets: [{path: rows.jsonl}]\nlora_dropout: 1.5\nnum_epochs: -1\n"
    found = adopt(write(tmp_path, text), tmp_path / "ours")
    left = dict(found.left)
    assert "is refused" in left["lora_dropout"]
    assert "is refused" in left["num_epochs"]
    assert load(tmp_path / "ours").train.epochs is None


@pytest.mark.parametrize("text", ["a: 1", "- a", "a: [", ""])
def test_what_is_no_such_configuration(tmp_path, text):
    with pytest.raises(InputError, match=r"theirs\.yml"):
        adopt(write(tmp_path, text), tmp_path / "ours")


def test_a_project_is_never_written_over(tmp_path):
    adopt(write(tmp_path, AXOLOTL), tmp_path / "ours")
    with pytest.raises(InputError, match="already there"):
        adopt(tmp_path / "theirs.yml", tmp_path / "ours")


def test_the_command_prints_what_is_carried_over_and_what_not(tmp_path, metier):
    write(tmp_path, AXOLOTL)
    done = metier("init", str(tmp_path / "ours"), "--from", str(tmp_path / "theirs.yml"))
    assert done.code == 0
    assert "lora_r → model.rank: 8" in done.out
    assert "deepspeed: one device" in done.out
    done = metier("init", str(tmp_path / "more"), "--from", str(tmp_path / "theirs.yml"), "--json")
    assert json.loads(done.out)["left"]


def test_data_sets_that_differ_keep_what_is_true_of_each(tmp_path):
    (tmp_path / "data").mkdir()
    registered = {
        "mine": {"file_name": "rows.jsonl", "columns": {"prompt": "q", "response": "a"}},
        "talks": {"hf_hub_url": "org/set", "formatting": "sharegpt", "columns": {"messages": "talk"}},
    }
    (tmp_path / "data" / "rows.jsonl").write_text("{}\n")
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(registered))
    (tmp_path / "theirs.yaml").write_text("model_name_or_path: b\ndataset: mine,talks\n")
    adopt(tmp_path / "theirs.yaml", tmp_path / "ours")
    project = load(tmp_path / "ours")
    mine, talks = project.data.train
    assert (mine.path, mine.format, mine.columns) == (
        "../data/rows.jsonl", "alpaca", {"instruction": "q", "output": "a"},
    )  # fmt: skip
    assert (talks.path, talks.format, talks.columns) == ("hub:org/set", "sharegpt", {"conversations": "talk"})
    assert (project.prepare.format, project.prepare.columns) == ("auto", {})


@pytest.mark.parametrize(
    ("text", "loss", "beta"),
    [
        ("stage: dpo\nmodel_name_or_path: b\n", "sigmoid", 0.1),
        ("stage: dpo\nmodel_name_or_path: b\npref_loss: ipo\npref_beta: 0.3\n", "ipo", 0.3),
        ("base_model: b\nrl: dpo\nrl_beta: 0.2\n", "sigmoid", 0.2),
        ("base_model: b\nrl: ipo\n", "ipo", 0.1),
    ],
)
def test_preferences_are_carried_over(tmp_path, text, loss, beta):
    adopt(write(tmp_path, text), tmp_path / "ours")
    values = yaml.safe_load((tmp_path / "ours" / "metier.yaml").read_text())
    objective = TrainSettings.model_validate(values["train"]).objective
    assert (objective.name, objective.prefer.loss, objective.prefer.beta) == ("prefer", loss, beta)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("stage: ppo\nmodel_name_or_path: b\n", "stage"), ("base_model: b\nrl: kto\n", "rl"),
        ("stage: dpo\nmodel_name_or_path: b\npref_loss: orpo\n", "stage"),
    ],
)  # fmt: skip
def test_other_ways_of_learning_preferences_are_left_and_said(tmp_path, text, name):
    left = dict(adopt(write(tmp_path, text), tmp_path / "ours").left)
    assert left[name].endswith("has no counterpart; see train.objective")


def test_a_missing_file_is_no_data_set_of_the_hub(tmp_path):
    text = "base_model: b\ndatasets:\n  - path: data/missing.jsonl\n    type: alpaca\n"
    found = adopt(write(tmp_path, text), tmp_path / "ours")
    assert found.values["data"]["train"] == "data/missing.jsonl"
    assert "is not beside the configuration" in dict(found.left)["datasets[1].path"]
