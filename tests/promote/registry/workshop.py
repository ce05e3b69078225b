"""Runs as the stages leave them, written by hand: what the registry reads, and no model that computes."""

import json
import shutil
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.progress import Silent
from metier.core.registry import Version
from metier.model.find import Base
from metier.promote.registry import licences, make
from metier.promote.registry.decision import Condition, Decision

YES = Decision(conditions=(Condition(name="better", holds=True, told="accuracy better, difference +20.0 points"),))


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def evaluation_of(model: str, *, tuned: float = 0.8, base: str = "b" * 64) -> dict[str, Any]:
    entry = {
        "name": "accuracy", "base": estimate(0.6), "tuned": estimate(tuned), "difference": estimate(tuned - 0.6),
        "verdict": "better", "rows": 40, "method": "t", "p": 0.01, "reason": "",
    }  # fmt: skip
    conditions = {
        "split": "test", "rows": 40, "settings": {"confidence": 0.95}, "base": {"name": "small", "digest": base},
        "tuned": {"name": "run", "digest": model},
    }  # fmt: skip
    return {"version": 1, "verdict": entry, "metrics": [entry], "slices": [], "conditions": conditions}


def write_snapshot(store: Path) -> Path:
    path = store / "snapshots" / "one"
    if path.exists():
        return path
    facts = {
        "counts": {"train": 2, "validation": 1, "test": 1}, "dropped": {"empty": 1}, "synthetic": 0, "settings": {},
        "sources": {"rows.jsonl": {"role": "train", "sha256": "c" * 64, "rows": 5}},
    }  # fmt: skip
    with artefact.publish(path, kind="snapshot", facts=facts) as folder:
        for split, count in facts["counts"].items():
            rows = [{"id": f"{split}{n}", "source": f"rows.jsonl:{n}", "text": "a secret"} for n in range(count)]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "decisions.jsonl").write_text('{"source": "rows.jsonl:5", "rule": "empty", "action": "drop"}\n')
    return path


def make_run(store: Path, name: str = "run-1", *, weights: bytes = b"one", tuned: float = 0.8) -> Path:
    """Write a run that was trained, evaluated and proven."""
    run = store / "runs" / name
    with artefact.publish(run / "model", kind="model", facts={"base": "small"}) as folder:
        (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}\n')
        (folder / "adapter_model.safetensors").write_bytes(weights * 50)
        (folder / "tokenizer.json").write_text("{}\n")
    model = artefact.read(run / "model").digest
    with artefact.publish(run / "evaluation", kind="evaluation") as folder:
        (folder / "evaluation.json").write_text(json.dumps(evaluation_of(model, tuned=tuned)))
        (folder / "answers.jsonl").write_text("{}\n")
        (folder / "scored.jsonl").write_text("")
    with artefact.publish(run / "parity", kind="parity") as folder:
        hops = [{"name": "trained", "ok": True, "detail": ""}, {"name": "saved", "ok": True, "detail": ""}]
        content = {"holds": True, "model": model, "hops": hops, "from_base": None, "limits": {}, "device": "cpu"}
        (folder / "parity.json").write_text(json.dumps(content))
    plan = {"text": {}, "train": {"learning_rate": 0.1 if weights == b"one" else 0.2}}
    base = {"name": "small", "kind": "folder", "folder": "small", "digest": "b" * 64}
    settings = {"snapshot": str(write_snapshot(store)), "base": base, "plan": plan}
    (run / "settings.json").write_text(json.dumps(settings))
    (run / "summary.json").write_text("{}\n")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    return run


def asked(store: Path, run: Path, *, decision: Decision = YES, **more: Any) -> make.Asked:
    base_folder = store.parent / "small"
    base_folder.mkdir(exist_ok=True)
    (base_folder / "LICENSE").write_text("Do as you like.\n")
    project = store.parent / "metier.yaml"
    project.write_text("base: small\ndata: rows.jsonl\n")
    base = Base(name="small", folder=base_folder, kind="folder", digest="b" * 64)
    terms = licences.join(base="apache-2.0", data="own", model=None, use="internal")
    facts = json.loads((run / "evaluation" / "evaluation.json").read_text())
    return make.Asked(
        name="support", run=run, base=base, project=project, decision=decision, evaluation=facts, licences=terms, **more
    )


def promote(store: Path, run: Path, alias: str = "production") -> Version:
    """Make a version of a run and let an alias mean it, as `metier promote` does once the answer is yes."""
    version = make.make(asked(store, run), store, Silent())
    make.point(version, alias, store)
    return version


def publish_again(path: Path, change: Any) -> None:
    """Change a version as somebody would who can write files but has no key: with a manifest that fits the change."""
    manifest = artefact.read(path)
    with artefact.publish(path, kind=manifest.kind, facts=manifest.facts) as folder:
        for name in manifest.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path / name, folder / name)
        change(folder)
