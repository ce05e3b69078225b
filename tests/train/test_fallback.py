"""A base that packing cannot serve trains one row at a time, says so, and is still exact."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from metier.core.progress import Silent
from metier.model.find import find
from metier.model.save import save_whole
from metier.model.ways.virtual import ONE_BY_ONE
from metier.train.run import train
from tests.conftest import write_tokenizer
from tests.train.conftest import plan


def test_a_recurrent_base_trains_row_by_row(tiny_snapshot, tmp_path):
    folder = tmp_path / "recurrent"
    folder.mkdir()
    config = AutoConfig.for_model(
        "mamba2",
        vocab_size=268,
        hidden_size=32,
        num_hidden_layers=2,
        num_heads=4,
        head_dim=16,
        state_size=8,
        n_groups=1,
        time_step_limit=[0.0, 10.0],
    )
    torch.manual_seed(0)
    save_whole(AutoModelForCausalLM.from_config(config, dtype=torch.float32), folder)
    write_tokenizer(folder)
    run = tmp_path / ".metier" / "runs" / "recurrent"
    train(tiny_snapshot, find(str(folder), folder), run=run, settings=plan(max_steps=4), progress=Silent())
    chosen = {choice["name"]: choice for choice in json.loads((run / "choices.json").read_text())}
    assert chosen["forest"]["value"] == "one by one"
    losses = [json.loads(line).get("loss") for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any(losses)


@pytest.mark.parametrize("method", ["prompt", "prefix", "bottleneck"])
def test_learnt_tokens_train_row_by_row_and_modules_in_a_forest(method, run_to_end):
    run = run_to_end(plan({"method": method, "virtual": {"tokens": 3}}, max_steps=3), method)
    chosen = {choice["name"]: choice for choice in json.loads((run / "choices.json").read_text())}
    if method == "bottleneck":
        assert chosen["forest"]["value"].startswith("shared beginnings")
    else:
        assert (chosen["forest"]["value"], chosen["forest"]["reason"]) == ("one by one", ONE_BY_ONE)
