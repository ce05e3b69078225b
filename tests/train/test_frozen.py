"""Frozen lowest layers are computed once: the same run, less work, resumable, refused where it would not be exact."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from metier.core.errors import DiskFullError
from metier.core.progress import Silent
from metier.core.types import Reasoned
from metier.forest.arrange import arrange
from metier.forest.frozen import lowest_trained
from metier.forest.way import probe
from metier.model.layers import decoder_layers
from metier.train.frozen import TOLERANCE, check, keep, worth
from metier.train.loop import Arithmetic
from tests.core.children import limit_file_size
from tests.forest.architectures import PACKABLE, SMALL, build
from tests.forest.trees import prompt_rows, tree_rows
from tests.train import killing
from tests.train.conftest import plan

CPU = Arithmetic(device=torch.device("cpu"))
SHORT_NOISE = {"max_steps": 1, "checks": 1, "regularise": {"neftune_alpha": 5}}
ROWS = [*tree_rows(1), *prompt_rows((3, 8, 8, 1))]


def three_layers(name: str) -> torch.nn.Module:
    kind, sizes = PACKABLE[name]
    types = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
    model = build((kind, sizes | {"num_hidden_layers": 3} | (types if "layer_types" in sizes else {})), torch.float32)
    model.requires_grad_(False)
    decoder_layers(model)[-1].requires_grad_(True)
    return model


@pytest.mark.parametrize("name", [name for name in PACKABLE if name != "gpt2"])
@pytest.mark.parametrize("budget", [10_000, 60])
def test_losses_from_kept_states_are_the_losses(name, budget, tmp_path):
    model = three_layers(name)
    way = probe(model)
    assert lowest_trained(model) == 2
    kept = keep(tmp_path / "f", model, way, ROWS, arithmetic=CPU, progress=Silent())
    assert check(model, way, arrange(ROWS, budget), kept, range(len(ROWS))) < 5e-5


def test_states_of_another_row_are_found(tmp_path):
    """The planted fault: rows that take each other's states must not pass the check of a run."""
    model = three_layers("llama")
    way = probe(model)
    kept = keep(tmp_path / "f", model, way, ROWS, arithmetic=CPU, progress=Silent())
    longest_first = sorted(range(len(ROWS)), key=lambda index: -len(ROWS[index]))
    rows = [ROWS[longest_first[1]]]
    assert check(model, way, arrange(rows, 10_000), kept, [longest_first[0]]) > TOLERANCE


def test_a_norm_of_the_embedding_stands_below_all_layers():
    """Kept states would keep it from learning: named as a norm, it is none of those behind the layers."""
    model = build(("modernbert-decoder", SMALL | {"num_hidden_layers": 3}), torch.float32)
    model.requires_grad_(False)
    decoder_layers(model)[2].requires_grad_(True)
    assert lowest_trained(model) == 2
    model.model.embeddings.norm.requires_grad_(True)
    assert lowest_trained(model) == 0


def test_the_lowest_layer_that_trains():
    model = build(("llama", SMALL | {"num_hidden_layers": 3}), torch.float32)
    assert lowest_trained(model) == 0, "the embedding trains"
    model.requires_grad_(False)
    decoder_layers(model)[1].requires_grad_(True)
    assert lowest_trained(model) == 1
    model.model.norm.requires_grad_(True)
    assert lowest_trained(model) == 1
    model.get_input_embeddings().requires_grad_(True)
    assert lowest_trained(model) == 0


def test_reasons_against_it():
    model = three_layers("llama")
    assert "only once" in worth(model, ROWS, passes=1, bound_gb=1).reason
    assert "more than" in worth(model, ROWS, passes=3, bound_gb=1e-6).reason
    assert worth(model, ROWS, passes=3, bound_gb=1).value == 2


class Listener(Silent):
    def __init__(self) -> None:
        self.choices: dict[str, object] = {}

    def chose(self, choice: Reasoned) -> None:
        self.choices[choice.name] = choice.value


def trained(run) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def test_a_run_with_kept_states_learns_the_same(run_to_end):
    """And the planted difference: an uncached run differs in the last bits only, so the setting changes no result."""
    top = {"method": "layers", "layers": (1,)}
    epochs = {"max_steps": None, "epochs": 3.0}
    listener = Listener()
    kept = run_to_end(plan(top, **epochs), "kept", listener)
    assert listener.choices["frozen layers"] == 1
    whole = run_to_end(plan(top | {"frozen_cache_gb": 0.0}, **epochs), "whole")
    for name, tensor in trained(whole).items():
        assert torch.allclose(trained(kept)[name], tensor, atol=1e-4)
    noise, quiet = Listener(), Listener()
    run_to_end(plan(top, **SHORT_NOISE), "noise", noise)
    assert noise.choices["frozen layers"] == 0, "what is not kept is said"
    run_to_end(plan({"method": "lora"}, **SHORT_NOISE), "nothing frozen", quiet)
    assert "frozen layers" not in quiet.choices
    losses = [
        [json.loads(line).get("loss") for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (kept, whole)
    ]
    assert len(losses[0]) == len(losses[1])
    assert not (kept / "frozen").exists()


def _keep_within_limits(folder: Path) -> None:
    """Keep states where files may not grow beyond 10 kB; `said` is told what came of it."""
    model = three_layers("llama")
    limit_file_size(10_000)
    try:
        keep(folder / "f", model, probe(model), ROWS, arithmetic=CPU, progress=Silent())
    except DiskFullError as error:
        (folder / "said").write_text(str(error))


def test_a_file_of_states_has_its_room_before_it_is_filled(tmp_path):
    """Else a disk that gets full while it is filled kills the process without a word."""
    assert killing.wait(killing.start(_keep_within_limits, tmp_path)) == 0
    assert "this process may write no file larger than 10,000 bytes" in (tmp_path / "said").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["said"]
    model = three_layers("llama")
    keep(tmp_path / "f", model, probe(model), ROWS, arithmetic=CPU, progress=Silent())
    found = (tmp_path / "f" / "states.npy").stat()
    assert found.st_blocks * 512 >= found.st_size


def test_states_on_a_full_disk_are_told(small_disk):
    model = three_layers("llama")
    with pytest.raises(DiskFullError, match="no space left"):
        keep(small_disk / "f", model, probe(model), ROWS * 200, arithmetic=CPU, progress=Silent())
    assert list(small_disk.iterdir()) == []
