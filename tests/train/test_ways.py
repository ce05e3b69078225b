"""Every way of updating weights changes what it says and nothing else, resumes, and comes back from disk the same."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from metier.core.errors import ModelError
from metier.core.types import Sequence
from metier.forest.way import ALONE, Way, probe
from metier.model.adapter import ADAPTER_CONFIG, is_adapter, why_unmergeable
from metier.model.find import Base, find
from metier.model.load import load_base, load_tuned
from metier.model.merge import merge
from metier.model.save import save_trained
from metier.model.ways.virtual import Virtual, unpackable
from metier.train import checkpoint
from metier.train.loop import Arithmetic, seed_step, step
from metier.train.objectives.regularised import BaseModel
from metier.train.objectives.supervised import Supervised
from metier.train.optimisers.build import build
from metier.train.optimisers.groups import trained_parameters
from metier.train.optimisers.optimiser import Optimiser
from metier.train.settings import OptimiserSettings, RegulariseSettings
from tests.model.bases import CPU, relative
from tests.model.ways import WAYS, everything, fresh

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft.*")

STEPS = 2
UNMERGED = {"peft adaption_prompt", "peft beft"}
STILL = {"peft unilora": "unilora_theta_d", "peft tinylora": "tinylora_v"}
"""Buffers that are views of what trains, and so move with it."""


def rows() -> list[Sequence]:
    """Three rows, two of which begin alike: computed once, in a forest."""
    numbers = np.random.default_rng(3)
    shared = numbers.integers(12, 100, 5)
    made = []
    for number, length in enumerate((11, 7, 9)):
        ids = numbers.integers(12, 100, length)
        if number < 2:
            ids[: len(shared)] = shared
        weights = np.array([0.0] * 5 + [1.0] * (length - 5), dtype=np.float32)
        made.append(Sequence(ids=ids.astype(np.int32), weights=weights, row_id=str(number)))
    return made


def how(model: torch.nn.Module) -> Way:
    return ALONE if unpackable(model) else probe(model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model after two real steps, everything it was before and is now, and its checkpoint after the first step."""

    base: Base
    model: torch.nn.Module
    before: dict[str, torch.Tensor]
    after: dict[str, torch.Tensor]
    moved: set[int]
    run: Path


def one_step(model: torch.nn.Module, optimiser: Optimiser, number: int) -> None:
    way = how(model)
    assert way.packed != bool(unpackable(model))
    optimiser.set_rate(0.03)
    seed_step(0, number)
    model.train()
    with way.attention(model):
        work = way.arrange(rows(), 4096)
        step(model, Supervised(way), work, optimiser, clip=1.0, arithmetic=Arithmetic(device=CPU))
    model.eval()


def adam(model: torch.nn.Module) -> Optimiser:
    return build(model, OptimiserSettings(), RegulariseSettings())


@pytest.fixture(scope="module", params=WAYS)
def trained(request, tiny_base, tmp_path_factory) -> Trained:
    base, run = find(str(tiny_base), tiny_base), tmp_path_factory.mktemp("run")
    model = fresh(base, WAYS[request.param])
    before = everything(model)
    optimiser = adam(model)
    for number in range(STEPS):
        one_step(model, optimiser, number)
        if number == 0:
            checkpoint.save(run, optimiser, checkpoint.Place(step=1))
    return Trained(
        base=base,
        model=model,
        before=before,
        after=everything(model),
        moved={weight.data_ptr() for weight in trained_parameters(model).values()},
        run=run,
    )


@pytest.fixture
def way(request) -> str:
    return request.node.callspec.params["trained"]


def test_what_trains_moves_and_nothing_else(trained, way):
    live = dict(trained.model.named_parameters(remove_duplicate=False)) | dict(trained.model.named_buffers())
    changed = {name for name, tensor in trained.after.items() if not torch.equal(tensor, trained.before[name])}
    unexpected = {name for name in changed if live[name].data_ptr() not in trained.moved}
    assert not {name for name in unexpected if STILL.get(way, "—") not in name}
    assert set(trained_parameters(trained.model)) <= changed


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(trained, way):
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    again = fresh(trained.base, WAYS[way])
    assert everything(again).keys() == trained.before.keys()
    for name, tensor in everything(again).items():
        assert torch.equal(tensor, trained.before[name]), f"{name} starts otherwise in another process"
    optimiser = adam(again)
    checkpoint.load(checkpoint.folder(trained.run, 1), optimiser)
    one_step(again, optimiser, 1)
    for name, tensor in everything(again).items():
        assert torch.equal(tensor, trained.after[name]), name


@torch.no_grad()
def answers(model: torch.nn.Module) -> torch.Tensor:
    """Return the logits of two rows, about the real tokens: PEFT answers about its learnt ones too."""
    ids = torch.randint(12, 100, (2, 12), generator=torch.Generator().manual_seed(5))
    return model(input_ids=ids, use_cache=False).logits[:, -12:]


@torch.no_grad()
def test_rows_computed_in_one_forest_do_not_see_each_other(trained):
    if unpackable(trained.model):
        pytest.skip("never in one forest")
    way, results = probe(trained.model), []
    for chosen in (way, ALONE):
        with chosen.attention(trained.model):
            for indices, forest in chosen.arrange(rows(), 4096).forests:
                assert indices == (0, 1, 2)
                losses = chosen.losses(trained.model, forest)
                results.append([losses[forest.sequence == number].sum() for number in indices])
    assert torch.tensor(results[0]).sub(torch.tensor(results[1])).abs().max() < 1e-4


def saved(trained: Trained, folder: Path) -> Path:
    folder.mkdir()
    save_trained(trained.model, trained.base, folder)
    return folder


def test_what_is_saved_loads_in_plain_libraries_and_answers_alike(trained, tiny_base, tmp_path):
    folder = saved(trained, tmp_path / "model")
    expected = answers(trained.model)
    ours = answers(load_tuned(trained.base, folder, device=CPU))
    plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    assert relative(answers(plain), expected) > 1e-3, "else this would prove nothing"
    assert relative(ours, expected) < 1e-5
    if (folder / ADAPTER_CONFIG).is_file():
        assert relative(answers(PeftModel.from_pretrained(plain, str(folder)).eval()), expected) < 1e-5
    elif not is_adapter(folder):
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        assert torch.equal(answers(theirs), expected)
    else:
        theirs = by_hand(plain, load_file(str(folder / "bottleneck.safetensors")))
        assert relative(answers(theirs), expected) < 1e-5


def by_hand(plain: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    """Apply bottleneck modules as docs/ways.md says that they are to be read."""

    def hook(name):
        down, up = (
            {end: tensors[f"{name}.bottleneck.{part}.{end}"] for end in ("weight", "bias")} for part in ("down", "up")
        )

        def through(module, inputs, output):
            hidden = output[0] if isinstance(output, tuple) else output
            middle = torch.nn.functional.gelu(torch.nn.functional.linear(hidden, **down))
            result = hidden + torch.nn.functional.linear(middle, **up)
            return (result, *output[1:]) if isinstance(output, tuple) else result

        return through

    for name in {name.partition(".bottleneck.")[0] for name in tensors}:
        plain.get_submodule(name).register_forward_hook(hook(name))
    return plain


def test_what_is_merged_is_a_plain_model_that_answers_alike_or_is_refused_with_the_reason(trained, way, tmp_path):
    folder = saved(trained, tmp_path / "model")
    if way == "bottleneck" or way in UNMERGED or isinstance(trained.model, Virtual):
        assert why_unmergeable(folder)
        with pytest.raises(ModelError, match=r"cannot be merged: .*serve it on its base"):
            merge(trained.base, folder, tmp_path / "merged")
        return
    assert not why_unmergeable(folder)
    merged = AutoModelForCausalLM.from_pretrained(merge(trained.base, folder, tmp_path / "merged"), dtype=torch.float32)
    assert relative(answers(merged.eval()), answers(trained.model)) < 1e-5


@pytest.mark.parametrize("name", ["lora pissa", "lora", "bottleneck", "prompt"])
def test_the_base_that_regularising_looks_at_is_the_base(tiny_base, name):
    """PiSSA's adapter switched off by PEFT would leave the rest of the base only."""
    base = find(str(tiny_base), tiny_base)
    model, plain = fresh(base, WAYS[name]), load_base(base, device=CPU)
    way = how(model)
    forest = way.arrange(rows(), 4096).forests[0][1]
    with torch.no_grad():
        expected = torch.log_softmax(ALONE.logits(plain, forest), dim=-1)
    one_step(model, adam(model), 0)
    with way.attention(model):
        found = BaseModel(model, way).log_probabilities(forest)
    assert (found - expected).abs().max() < 1e-4
