"""The certificate holds for heads and distilled models, and a head that was changed afterwards breaks it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from metier.core import artefact
from metier.core.errors import ParityError
from metier.core.progress import Silent
from metier.model.find import Base, find
from metier.model.settings import ModelSettings
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.promote.parity import prove
from metier.promote.settings import PromoteSettings
from metier.text.settings import TextSettings
from metier.train.plan import TrainingPlan
from metier.train.run import train
from metier.train.settings import TrainSettings

COLOURS = ("red", "green", "blue", "grey")
ROWS = {
    "classify": lambda n: {"text": f"{n} is {COLOURS[n % 4]}", "label": COLOURS[n % 4]},
    "multilabel": lambda n: {"text": f"{n} is {COLOURS[n % 4]}", "label": [COLOURS[n % 4], "odd"][: n % 3]},
    "regress": lambda n: {"text": f"{n} is {COLOURS[n % 4]}", "score": 10.0 * (n % 4)},
    "distil": lambda n: {"prompt": f"{n} is", "completion": COLOURS[n % 4], "system": "Go on."},
}


def learn(folder: Path, base_folder: Path, objective: str, method: str) -> tuple[Path, Base]:
    records = [ROWS[objective](number) for number in range(48)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    store = folder / ".metier"
    snapshot = prepare(
        DataSettings(train="rows.jsonl"), PrepareSettings(), folder=folder, store=store, seed=0, progress=Silent()
    ).path
    base = find(str(base_folder), folder)
    plan = TrainingPlan(
        text=TextSettings(),
        model=ModelSettings.model_validate({"method": method, "rank": 4}),
        train=TrainSettings.model_validate(
            {"max_steps": 8, "checks": 1, "threads": 1, "learning_rate": 6e-3, "objective": objective}
        ),
    )
    return train(snapshot, base, run=store / "runs" / "one", settings=plan, progress=Silent()), base


def certificate(run: Path, base: Base) -> dict:
    folder = prove(run, base, settings=PromoteSettings(), progress=Silent())
    return json.loads((folder / "parity.json").read_text())


@pytest.mark.parametrize(
    ("objective", "method"),
    [("classify", "lora"), ("multilabel", "layers"), ("regress", "lora"), ("regress", "full"), ("distil", "lora")],
)
def test_what_serves_is_what_trained(objective, method, tiny_base, tmp_path):
    run, base = learn(tmp_path, tiny_base, objective, method)
    found = certificate(run, base)
    assert found["holds"]
    assert [hop["name"] for hop in found["hops"]] == ["trained", "saved", "reloaded", "merged"]
    assert found["from_base"]["mean_kl"] > 1e-4, "the training moved it, so the certificate says something"
    assert found["hops"][-1]["largest_kl"] < 1e-9


def test_swapped_labels_break_the_certificate(tiny_base, tmp_path):
    """The planted fault: two rows of the head change places, and the manifest is written anew over it."""
    run, base = learn(tmp_path, tiny_base, "classify", "lora")
    tensors = load_file(str(run / "model" / "adapter_model.safetensors"))
    name = next(name for name in tensors if "score" in name)
    tensors[name] = tensors[name][torch.tensor([1, 0, 2, 3])].contiguous()
    files = {path.name: path.read_bytes() for path in (run / "model").iterdir() if path.name != "manifest.json"}
    facts = artefact.read(run / "model").facts
    artefact.remove(run / "model")
    with artefact.publish(run / "model", kind="model", facts=facts) as folder:
        for file, content in files.items():
            (folder / file).write_bytes(content)
        save_file(tensors, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})
    with pytest.raises(ParityError, match="hop 'reloaded'"):
        certificate(run, base)


def relabel(run: Path) -> None:
    """The planted fault: two labels change places in the file beside the head, whose weights stay as they are."""
    files = {path.name: path.read_bytes() for path in (run / "model").iterdir() if path.name != "manifest.json"}
    facts = artefact.read(run / "model").facts
    head = json.loads(files["head.json"])
    head["labels"][:2] = head["labels"][1::-1]
    artefact.remove(run / "model")
    with artefact.publish(run / "model", kind="model", facts=facts) as folder:
        for file, content in files.items():
            (folder / file).write_bytes(content)
        (folder / "head.json").write_text(json.dumps(head))


@pytest.mark.parametrize("objective", ["classify", "multilabel", "regress"])
def test_what_a_head_answers_over_http_is_what_was_trained(objective, tiny_base, tmp_path):
    run, base = learn(tmp_path, tiny_base, objective, "layers")
    hop = served(run, base)
    assert hop["name"] == "served"
    assert hop["ok"]
    if objective == "regress":
        assert hop["largest_kl"] is None
        assert "refuses to decide" in hop["detail"]
        return
    assert hop["largest_kl"] < 1e-5
    assert hop["greedy_agreement"] == 1
    relabel(run)
    with pytest.raises(ParityError, match="hop 'served': largest KL"):
        served(run, base)


def served(run: Path, base: Base) -> dict:
    tight = {"largest_kl": 1e-3}  # of our own server in float32 no more than this is to be expected
    settings = PromoteSettings.model_validate({"served": True, "rounded": tight})
    folder = prove(run, base, settings=settings, progress=Silent())
    return json.loads((folder / "parity.json").read_text())["hops"][-1]
