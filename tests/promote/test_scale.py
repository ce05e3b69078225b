"""A run at another scale is a run: it says where it comes from, can be proven, and a wrong file is caught."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from metier.core import artefact
from metier.core.errors import DataError, ParityError, SettingsError
from metier.core.progress import Silent
from metier.model.load import load_base, load_tuned
from metier.model.scale import scaled
from metier.promote import parity
from metier.promote.scale import apply
from metier.promote.settings import PromoteSettings
from tests.promote.conftest import Trained, train

IDS = torch.tensor([[1, 40, 41, 42]])


@pytest.fixture(params=["lora", "dora", "full"])
def trained(request, tiny_base, tmp_path) -> Trained:
    dora = request.param == "dora"
    more = {"lora": {"dora": True}} if dora else None
    made = train(tmp_path, tiny_base, "lora" if dora else request.param, more=more)
    for name in ("summary.json", "choices.json"):
        (made.run / name).write_text(json.dumps({} if name == "summary.json" else []))
    return made


def test_a_scaled_run_is_proven_and_knows_its_origin(trained):
    target = apply(trained.run, trained.base, 0.5, progress=Silent())
    assert target.name == f"{trained.run.name}-x0.5"
    parity.prove(target, trained.base, settings=PromoteSettings(), progress=Silent())
    assert json.loads((target / "parity" / "parity.json").read_text())["holds"]
    lineage = {"run": trained.run.name, "model": artefact.read(trained.run / "model").digest, "scale": 0.5}
    assert artefact.verify(target / "model", "model").facts["scaled"] == lineage
    for name in ("settings.json", "summary.json"):
        assert json.loads((target / name).read_text())["scaled"] == lineage
    tuned, base = load_tuned(trained.base, trained.run / "model"), load_base(trained.base)
    with torch.no_grad(), scaled(tuned, base, 0.5):
        wanted = tuned(IDS).logits
    with torch.no_grad():
        assert torch.allclose(load_tuned(trained.base, target / "model")(IDS).logits, wanted, atol=1e-5)
    before = (target / "model" / "manifest.json").read_bytes()
    assert apply(trained.run, trained.base, 0.5, progress=Silent()) == target
    assert (target / "model" / "manifest.json").read_bytes() == before


def test_files_that_were_not_scaled_are_caught(trained):
    """A planted fault: the scaled run holds the weights of scale 1, in a manifest that fits them."""
    target = apply(trained.run, trained.base, 0.5, progress=Silent())
    facts = artefact.read(target / "model").facts
    with artefact.publish(target / "model", kind="model", facts=facts) as folder:
        for path in (trained.run / "model").iterdir():
            if path.name != "manifest.json":
                shutil.copyfile(path, folder / path.name)
    with pytest.raises(ParityError, match="hop 'reloaded'"):
        parity.prove(target, trained.base, settings=PromoteSettings(), progress=Silent())


def test_only_the_second_matrices_of_an_adapter_change(tiny_base, tmp_path):
    made = train(tmp_path, tiny_base, "lora")
    (made.run / "summary.json").write_text("{}")
    target = apply(made.run, made.base, 1.25, progress=Silent())
    before, after = (load_file(str(run / "model" / "adapter_model.safetensors")) for run in (made.run, target))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor * (1.25 if ".lora_B." in name else 1))


@pytest.mark.parametrize("scale", [0.0, 1.0, -1.0])
def test_a_scale_that_makes_no_other_model(scale, tiny_base, tmp_path):
    made = train(tmp_path, tiny_base, "lora")
    with pytest.raises(SettingsError, match="one above 0 that is not 1"):
        apply(made.run, made.base, scale, progress=Silent())


def test_an_adapter_without_a_scale(tiny_base, tmp_path):
    made = train(tmp_path, tiny_base, "ia3")
    (made.run / "summary.json").write_text("{}")
    with pytest.raises(DataError, match="no scale"):
        apply(made.run, made.base, 0.5, progress=Silent())
