"""The planner: fixed text behind a variable part is found, auto settles what fits, what cannot fit is refused."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from metier.core.errors import SettingsError
from metier.core.pages import HUGE_PAGES
from metier.core.progress import Silent
from metier.core.types import Sequence
from metier.forest.arrange import arrange
from metier.forest.grow import grow
from metier.model.adapt import adapt
from metier.model.find import find
from metier.model.load import load_base
from metier.model.quantise.freeze import Quantisation, quantise
from metier.model.settings import ModelSettings
from metier.text.rendered import Rendered
from metier.text.targets import Targets
from metier.train.batches import Order
from metier.train.material import gather
from metier.train.optimisers.build import build, state_bytes
from metier.train.planning import run as planning
from metier.train.planning.choose import UNPLANNED_TOKENS, choose, fastest_tokens
from metier.train.planning.lint import misplaced
from metier.train.planning.pace import measure
from metier.train.planning.predict import Configuration, Setting, Simulation, simulate
from metier.train.settings import OptimiserSettings, RegulariseSettings
from tests.cli.workshop import Listener
from tests.model.bases import CPU
from tests.model.test_half import in_bfloat16
from tests.train.conftest import EVERY_OPTIMISER, plan
from tests.train.test_options import losses

needs_library = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="pip install 'metier[qlora]'")


VERA = {"type": "VERA"}


def rows(*, variable_first: bool) -> list[Sequence]:
    random = np.random.default_rng(0)
    fixed = random.integers(0, 1000, 200)
    made = []
    for number in range(16):
        variable, answer = random.integers(0, 1000, 20), random.integers(0, 1000, 8)
        parts = (variable, fixed) if variable_first else (fixed, variable)
        ids = np.concatenate([*parts, answer]).astype(np.int32)
        weights = np.r_[np.zeros(220), np.ones(8)].astype(np.float32)
        made.append(Sequence(ids=ids, weights=weights, row_id=str(number)))
    return made


def packed(sequences: list[Sequence]) -> Rendered:
    names = tuple(sequence.row_id for sequence in sequences)
    offsets = np.cumsum([0, *map(len, sequences)])
    ids, weights = (np.concatenate([getattr(each, name) for each in sequences]) for name in ("ids", "weights"))
    return Rendered(ids=ids, weights=weights, offsets=offsets, row_ids=names, sources=names)


def test_fixed_text_behind_a_variable_part_is_found_with_what_it_costs():
    found = misplaced(rows(variable_first=True), 4096)
    assert found is not None
    assert found.tokens == 200
    assert found.cheaper == pytest.approx(16 * 227 / (200 + 16 * 27), rel=0.01)
    assert "200 tokens" in found.said()
    assert f"{found.cheaper:.1f}×" in found.said()


def test_fixed_text_in_front_is_no_fault():
    assert misplaced(rows(variable_first=False), 4096) is None


def test_what_is_not_set_is_chosen_and_said(run_to_end):
    heard = Listener()
    run = run_to_end(plan(micro_batch_tokens=None), "auto", heard)
    chosen = {entry["name"]: entry["value"] for entry in json.loads((run / "choices.json").read_text())}
    assert chosen["train.micro_batch_tokens"] == 1024
    assert chosen["model.gradient_checkpointing"] is False
    assert any(line.startswith("plan: ") for line in heard.said)
    assert losses(run) == pytest.approx(losses(run_to_end(plan(), "set")), rel=1e-5)


def simulated(base_folder: Path, quantise: Quantisation, **model: Any) -> Simulation:
    setting = Setting(base=find(str(base_folder), base_folder), model=ModelSettings(**model), process=0)
    configuration = Configuration(method="lora", checkpointing=False, micro_batch_tokens=256, quantise=quantise)
    return simulate(setting, configuration, arrange(rows(variable_first=False), 256))


@pytest.mark.parametrize(
    "kind", ["bfloat16", "int8", *(pytest.param(name, marks=needs_library) for name in ("nf4", "nf4-double"))]
)
def test_a_base_in_fewer_bits_is_planned_with_the_bytes_that_it_has(tiny_base, kind):
    base = find(str(tiny_base), tiny_base)
    real = adapt(load_base(base, device=CPU), base, "lora", ModelSettings(), seed=0)
    in_full = sum(weight.nbytes for weight in real.parameters())
    kept = sum(weight.nbytes for weight in quantise(real, kind, CPU).parameters())
    memory = simulated(tiny_base, kind).memory
    assert memory.weights == kept < in_full
    whole = replace(memory, loading=10 * memory.total)
    assert whole.total == 10 * memory.total + memory.process, "the base is read in full before it is rounded"


def test_a_base_that_is_stored_in_bfloat16_is_planned_so(tiny_base, tiny_snapshot, tmp_path):
    """It is read in half the bytes, a way to train it keeps it so, and where products are so it is kept so unasked."""
    folder = tmp_path / "half"
    shutil.copytree(tiny_base, folder)
    base = in_bfloat16(find(str(folder), folder))
    assert simulated(folder, "int8").memory.loading < simulated(tiny_base, "int8").memory.loading
    material = gather(tiny_snapshot, base, tmp_path / "run", plan({"method": "lora"}), Silent())
    made = planning.make(base, plan({"method": "lora"}), material.train, material.view)
    assert "LoRA (bfloat16)" in {other.simulation.configuration.name for other, _ in made.alternatives}
    for bfloat16 in (False, True):
        setting = Setting(base=base, model=ModelSettings(), process=0, bfloat16=bfloat16)
        configuration = Configuration(method="lora", checkpointing=False, micro_batch_tokens=256)
        assert setting.bits(configuration) == ("bfloat16" if bfloat16 else "none")
        assert setting.bits(replace(configuration, method="full")) == "none"


def test_a_run_beside_a_base_in_fewer_bits_is_planned(run_to_end):
    heard = Listener()
    run = run_to_end(plan({"method": "lora", "quantise": "int8"}, micro_batch_tokens=None, max_steps=2), "run", heard)
    chosen = {entry["name"]: entry for entry in json.loads((run / "choices.json").read_text())}
    assert chosen["train.micro_batch_tokens"]["reason"].startswith("fits ")
    (said,) = (line for line in heard.said if line.startswith("plan: "))
    assert {"padded", "packed:"} <= {word.strip("(),") for word in said.split()}


def test_a_base_in_fewer_bits_is_timed_in_its_own_layers(monkeypatch):
    setting = Setting(base=find("metier-tiny", Path()), model=ModelSettings(), process=0)
    work = arrange(rows(variable_first=False), 256)
    configuration = Configuration(method="lora", checkpointing=False, micro_batch_tokens=256, quantise="int8")
    assert measure(setting, configuration, work).forest > 0
    monkeypatch.setattr(torch, "_int_mm", lambda x, y: (x.float() @ y.float()).clamp(-1, 1).int())
    assert measure(setting, configuration, work) is None, "integer products that are cut off are refused, not timed"


@pytest.mark.parametrize(("lora", "ways"), [({}, 7), ({"dora": True}, 3)])
def test_the_alternatives_are_those_that_the_settings_go_with(tiny_base, lora, ways):
    base, done = (
        find(str(tiny_base), tiny_base),
        Configuration(method="lora", checkpointing=False, micro_batch_tokens=1),
    )
    others = planning._others(base, plan({"method": "lora", "lora": lora}), done)
    assert len({other.name for other in others}) == ways
    assert done not in others


ADAPTERS: list[dict[str, Any]] = [
    {"method": "ia3"},
    {"method": "bottleneck"},
    {"method": "peft", "peft": VERA},
    {"method": "prompt"},
    {"method": "prefix"},
    {"method": "prefix", "virtual": {"projection": 8}},
    {"method": "peft", "peft": {"type": "P-TUNING", "config": {"num_virtual_tokens": 4}}},
]


@pytest.mark.parametrize("method", ADAPTERS)
def test_every_adapter_is_planned(method, tiny_base):
    """Its weights beside the base's, and the activations of a micro-batch: more of them in a larger one."""
    setting = Setting(base=find(str(tiny_base), tiny_base), model=ModelSettings.model_validate(method), process=0)
    found = []
    for tokens in (64, 1024):
        known = [replace(row, ids=row.ids % 268) for row in rows(variable_first=False)]
        work = setting.arrange(known, tokens, method["method"])
        configuration = Configuration(method=method["method"], checkpointing=False, micro_batch_tokens=tokens)
        found.append(simulate(setting, configuration, work))
    few, many = found
    assert 0 < few.trained == many.trained
    assert few.memory.weights == many.memory.weights > 4 * few.trained
    assert 0 < few.memory.activations < many.memory.activations
    pace = measure(setting, configuration, work)
    assert pace is not None
    assert pace.forest > 0


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_rows_behind_learnt_tokens_are_counted_and_gone_through_one_by_one(method, tiny_base):
    """Nothing is shared, and recomputing keeps less; where all lay in one forest, less would be computed."""
    setting = Setting(base=find(str(tiny_base), tiny_base), model=ModelSettings(method=method), process=0)
    made = packed(rows(variable_first=False))
    order = Order(len(made), 16, len(made), 0)
    planned = choose(setting, method, rendered=made, order=order, asked=(1024, False), room=1 << 40)
    beside = choose(setting, "lora", rendered=made, order=order, asked=(1024, False), room=1 << 40)
    assert planned.usage.shared == 16 * 227 > 4 * beside.usage.shared
    work = setting.arrange(planned.usage.heaviest, 1024, method)
    assert work.computed == 16 * 227
    if method == "prompt":
        less = replace(planned.simulation.configuration, checkpointing=True)
        assert simulate(setting, less, work).memory.activations < planned.simulation.memory.activations / 2


def test_attention_that_is_gone_through_keeps_no_scores(tiny_base):
    """Rows of twice the length take twice the memory, as in the kernel, not four times, as scores would."""
    model = ModelSettings.model_validate({"method": "prompt", "virtual": {"tokens": 4}})
    setting = Setting(base=find(str(tiny_base), tiny_base), model=model, process=0)
    configuration = Configuration(method="prompt", checkpointing=False, micro_batch_tokens=1)
    held = []
    for length in (117, 237):
        ids = np.random.default_rng(0).integers(3, 268, length).astype(np.int32)
        row = Sequence(ids=ids, weights=np.eye(length, dtype=np.float32)[-1], row_id="0")
        held.append(simulate(setting, configuration, setting.arrange([row], 1, "prompt")).memory.activations)
    assert held[1] == pytest.approx(2 * held[0], rel=0.1)


def test_a_way_that_the_planner_does_not_know_takes_the_fallback_and_says_why(run_to_end):
    run = run_to_end(plan({"method": "bottleneck", "quantise": "int8"}, micro_batch_tokens=None))
    chosen = {entry["name"]: entry for entry in json.loads((run / "choices.json").read_text())}
    assert chosen["train.micro_batch_tokens"]["value"] == UNPLANNED_TOKENS
    assert "not planned: method bottleneck on a base in int8" in chosen["train.micro_batch_tokens"]["reason"]


def test_no_template_is_blamed_where_nothing_is_shared_anyway(run_to_end):
    heard = Listener()
    run_to_end(plan({"method": "prompt"}, micro_batch_tokens=None, max_steps=1), "prompt", heard)
    assert any(line.startswith("plan: ") for line in heard.said)
    assert not any("cheaper" in line or "costs" in line for line in heard.said)


def test_bfloat16_on_a_cpu_takes_the_micro_batches_of_a_cpu(tiny_base):
    base = find(str(tiny_base), tiny_base)
    rendered = packed(rows(variable_first=False))
    chosen = {}
    for device in ("cpu", "cuda"):
        setting = Setting(base=base, model=ModelSettings(), process=0, device=device, bfloat16=True)
        order = Order(len(rendered), 16, len(rendered), 0)
        planned = choose(setting, "lora", rendered=rendered, order=order, asked=(None, None), room=1 << 40)
        chosen[device] = planned.simulation.configuration.micro_batch_tokens
    assert chosen["cpu"] == UNPLANNED_TOKENS < chosen["cuda"]


@pytest.mark.parametrize(("width", "repeated", "tokens"), [(288, 0.8, 2048), (288, 0.5, 1024), (576, 0.8, 1024)])
def test_a_narrow_base_takes_larger_micro_batches_of_full_training_on_rows_that_share_most(width, repeated, tokens):
    assert fastest_tokens("full", "cpu", width, repeated) == tokens
    assert fastest_tokens("lora", "cpu", width, repeated) == 1024


def test_rows_whose_beginnings_are_learnt_are_counted_once_in_any_micro_batch(tiny_base):
    """And gone through: the trunk with its labels, and beneath it one micro-batch."""
    made = [replace(row, weights=np.ones(len(row), np.float32)) for row in rows(variable_first=False)]
    setting = Setting(base=find(str(tiny_base), tiny_base), model=ModelSettings(), process=0, device="cpu")
    order = Order(len(made), 16, len(made), 0)
    found = {
        tokens: choose(setting, "lora", rendered=packed(made), order=order, asked=(tokens, False), room=1 << 40)
        for tokens in (1 << 20, 256, 64)
    }
    assert {planned.usage.shared for planned in found.values()} == {grow(made).tokens}
    memory = [planned.simulation.memory.activations for planned in found.values()]
    assert memory == sorted(memory, reverse=True)


@pytest.mark.parametrize("name", EVERY_OPTIMISER)
def test_the_planner_knows_what_an_optimiser_keeps(name):
    config = LlamaConfig(
        vocab_size=64, hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4
    )
    model = LlamaForCausalLM(config)
    settings = OptimiserSettings(name=name)
    optimiser = build(model, settings, RegulariseSettings())
    optimiser.set_rate(1e-3)
    model(torch.ones(1, 4, dtype=torch.long)).logits.sum().backward()
    optimiser.step()
    tensors = [value for part in optimiser.parts for state in part.state.values() for value in state.values()]
    kept = sum(value.nbytes for value in tensors if isinstance(value, torch.Tensor))
    numbers = sum(weight.numel() for weight in model.parameters())
    assert kept / numbers == pytest.approx(state_bytes(settings, RegulariseSettings()), abs=0.6)
    copies = RegulariseSettings(ema=0.99, l2_to_base=0.1)
    assert state_bytes(settings, copies) == state_bytes(settings, RegulariseSettings()) + 8


def test_a_step_is_timed_on_a_short_model_and_grows_with_its_tokens():
    base = find("metier-tiny", Path())
    setting = Setting(base=base, model=ModelSettings(), process=0)
    work = arrange(rows(variable_first=False), 256)
    configuration = Configuration(method="lora", checkpointing=False, micro_batch_tokens=256)
    pace = measure(setting, configuration, work)
    assert pace is not None
    assert min(pace.trunk, pace.forest, pace.update) > 0
    once, twice = pace.seconds(work), pace.seconds(replace(work, forests=work.forests * 2))
    assert twice - once == pytest.approx(once - pace.trunk - pace.update)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_head_is_planned(tiny_base, method):
    base = find(str(tiny_base), tiny_base)
    random = np.random.default_rng(0)
    answers = [
        Sequence(
            ids=random.integers(3, 268, 50).astype(np.int32),
            weights=np.eye(50, dtype=np.float32)[-1],
            row_id=str(number),
            target=np.eye(3, dtype=np.float32)[number % 3],
        )
        for number in range(16)
    ]
    work = arrange(answers, 256)
    configuration = Configuration(method=method, checkpointing=False, micro_batch_tokens=256)
    trained = []
    for targets in (Targets(kind="classify", labels=("a", "b", "c")), None):
        setting = Setting(base=base, model=ModelSettings(), process=0, targets=targets)
        trained.append(simulate(setting, configuration, work).trained)
        pace = measure(setting, configuration, work)
        assert pace is not None
        assert pace.forest > 0
    hidden = 32
    assert trained[0] - trained[1] == 3 * hidden


def test_large_blocks_lie_on_huge_pages_unless_the_user_says_otherwise():
    program = (
        "from metier.core.pages import use_huge_pages; use_huge_pages()\n"
        "import torch; print(torch.empty(3 << 20, dtype=torch.uint8).data_ptr() % 4096)"
    )
    for said, aligned in ({}, True), ({HUGE_PAGES: "0"}, False):
        environment = {name: value for name, value in os.environ.items() if name != HUGE_PAGES} | said
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        assert (int(done.stdout) == 0) is aligned


def test_what_cannot_fit_is_refused_before_weights_are_loaded(tiny_base, tiny_snapshot, tmp_path, monkeypatch):
    from metier.train.run import train

    base = find(str(tiny_base), tiny_base)
    monkeypatch.setattr(planning, "_room", lambda: 1 << 20)
    with pytest.raises(SettingsError, match="needs") as caught:
        train(tiny_snapshot, base, run=tmp_path / "s" / "runs" / "r", settings=plan(), progress=Silent())
    assert caught.value.exit_code == 2
    assert "metier plan" in caught.value.do


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_learnt_tokens_under_a_head_are_refused_in_a_plan_as_in_a_run(method, tiny_base, tiny_snapshot, tmp_path):
    base, settings = find(str(tiny_base), tiny_base), plan({"method": method})
    material = gather(tiny_snapshot, base, tmp_path / "run", settings, Silent())
    headed = replace(material.view, targets=Targets(kind="classify", labels=("a", "b")))
    with pytest.raises(SettingsError, match=f"model.method '{method}' under a head"):
        planning.make(base, settings, material.train, headed)
