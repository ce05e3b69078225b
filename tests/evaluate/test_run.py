import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Qwen3NextConfig

from metier.core import artefact
from metier.core.errors import DataError, ModelError, NonFiniteError, SettingsError
from metier.core.progress import Silent
from metier.core.types import Reasoned
from metier.evaluate import stored
from metier.evaluate.answer import losses
from metier.evaluate.compare import compare
from metier.evaluate.questions import gather
from metier.forest.read import row_losses
from metier.model.find import find
from metier.model.load import load_base
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.text.preferences import turned
from metier.text.render import open_renderer, render
from metier.text.rows import load_split
from metier.text.settings import TextSettings
from tests.evaluate.conftest import Workplace, build

WEIGHTS = "model.safetensors"


class Heard(Silent):
    """A listener that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.choices: dict[str, Reasoned] = {}

    def say(self, text: str) -> None:
        self.said.append(text)

    def chose(self, choice: Reasoned) -> None:
        self.choices[choice.name] = choice


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs from one evaluation to the next even when nothing has changed."""
    return {name: value for name, value in facts.items() if name not in ("seconds", "test_openings")}


def without_settings(facts: dict[str, Any]) -> dict[str, Any]:
    conditions = {name: value for name, value in facts["conditions"].items() if name != "settings"}
    return plain(facts) | {"conditions": conditions}


def reseal(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Publish a model again with other weights."""
    facts = artefact.read(folder, "model").facts
    copy = Path(shutil.copytree(folder, folder.parent / "copy"))
    with artefact.publish(folder, kind="model", facts=facts) as target:
        for path in copy.iterdir():
            if path.name not in (artefact.MANIFEST, WEIGHTS):
                shutil.copy(path, target)
        save_file(tensors, str(target / WEIGHTS), metadata={"format": "pt"})
    shutil.rmtree(copy)


def base_weights(place: Workplace) -> dict[str, torch.Tensor]:
    """Read the base's weights under the names, and in the number format, of the run's model."""
    wanted = load_file(str(place.run / "model" / WEIGHTS))
    found = load_file(str(place.base.folder / WEIGHTS))
    return {name: found[name].to(tensor.dtype).clone() for name, tensor in wanted.items()}


def test_a_trained_model_beats_its_base_and_the_numbers_are_those_of_the_answers(
    labels: Workplace, evaluated: dict[str, Any]
) -> None:
    folder = labels.run / "evaluation"
    assert artefact.verify(folder, "evaluation").facts["verdict"] == "better"
    verdict = evaluated["verdict"]
    assert (verdict["name"], verdict["verdict"]) == ("accuracy", "better")
    assert verdict["difference"]["low"] > 0.5
    answers = lines(folder / "answers.jsonl")
    rows = load_split(labels.snapshot, "test")
    assert verdict["rows"] == len(rows) == len(answers) / 2
    for name in ("base", "tuned"):
        right = [entry["output"].strip() == entry["reference"] for entry in answers if entry["model"] == name]
        assert verdict[name]["value"] == pytest.approx(sum(right) / len(right))
    scored = lines(folder / "scored.jsonl")
    nats = {
        n: sum(e["value"] for e in scored if e["model"] == "tuned" and e["metric"] == n) for n in ("nats", "tokens")
    }
    loss = next(metric for metric in evaluated["metrics"] if metric["name"] == "loss")
    assert loss["tuned"]["value"] == pytest.approx(nats["nats"] / nats["tokens"])
    assert {entry["source"] for entry in answers} == {row.source for row in rows}


def test_both_models_see_the_prompt_a_server_would_see(labels: Workplace, evaluated: dict[str, Any]) -> None:
    assert evaluated["conditions"]["decoding"]["stop_ids"] == [2]
    answers = lines(labels.run / "evaluation" / "answers.jsonl")
    prompts = [[entry["prompt"] for entry in answers if entry["model"] == name] for name in ("base", "tuned")]
    assert prompts[0] == prompts[1]
    assert all(prompt.endswith("<|stop|><|assistant|>") for prompt in prompts[0])


def test_forgetting_is_found(evaluated: dict[str, Any]) -> None:
    """Ninety steps on four words wreck a model for everything else."""
    retention = evaluated["retention"]
    assert retention["verdict"] == "lost"
    assert retention["metrics"][0]["rows"] == 60
    assert len(retention["kinds"]) == 9


def test_graders_measure_beside_the_task_are_kept_and_compared(spoiled: Workplace) -> None:
    graders = [
        {"type": "style", "name": "short", "most_words": 1},
        {"type": "text_similarity", "evaluation_metric": "chrf"},
    ]
    facts = spoiled.evaluate(graders=graders, metric="short")
    assert facts["verdict"]["name"] == "graded/mean/short"
    assert [m["name"] for m in facts["metrics"]][-2:] == ["graded/mean/short", "graded/mean/chrF"]
    assert facts["grading"] == {"faults": 0, "fault_rows": [], "judges": {}}
    there = compare(None, spoiled.run)
    assert "short" in there.verdict.text
    chrf = next(row for row in there.tables[0].rows if row[0] == "chrF")
    value = next(m for m in facts["metrics"] if m["name"] == "graded/mean/chrF")["tuned"]["value"]
    assert f"{100 * value:.1f} %" in str(chrf[2])
    with pytest.raises(SettingsError, match="'shorter' is not measured"):
        spoiled.evaluate(graders=graders[1:], metric="shorter")


def test_slices_and_labels_are_told_apart(evaluated: dict[str, Any]) -> None:
    assert [entry["slice"] for entry in evaluated["slices"]] == ["even", "odd"]
    assert sum(entry["rows"] for entry in evaluated["slices"]) == evaluated["verdict"]["rows"]
    assert [entry["label"] for entry in evaluated["labels"]] == ["blue", "green", "grey", "red"]


def test_groups_are_the_units_and_an_adapter_is_evaluated_like_any_model(records: Workplace) -> None:
    facts = records.evaluate()
    assert facts["task"]["value"] == "json"
    assert facts["groups"]
    assert facts["verdict"]["units"] < facts["verdict"]["rows"]
    assert [entry["field"] for entry in facts["fields"]] == ["colour", "known"]
    losses = next(metric for metric in facts["metrics"] if metric["name"] == "loss")
    assert losses["tuned"]["value"] < losses["base"]["value"]


def test_the_same_evaluation_twice_is_the_same_and_does_not_ask_the_base_again(spoiled: Workplace) -> None:
    shutil.rmtree(spoiled.store / "cache")
    heard = Heard()
    first = spoiled.evaluate()
    second = spoiled.evaluate(progress=heard)
    assert first["seconds"]["base"] is not None
    assert second["seconds"]["base"] is None
    assert any("base: answers kept" in text for text in heard.said)
    assert plain(first) == plain(second)


def test_other_prompts_do_ask_the_base_again(spoiled: Workplace) -> None:
    changed = spoiled.evaluate(text=TextSettings(system="Name the colour."))
    assert changed["seconds"]["base"] is not None
    assert spoiled.evaluate(max_new_tokens=3)["seconds"]["base"] is not None


def test_kept_answers_that_were_changed_are_not_believed(spoiled: Workplace) -> None:
    spoiled.evaluate()
    for path in (spoiled.store / "cache").glob("answers-*/answers.json"):
        path.write_text(path.read_text(encoding="utf-8").replace("length", "stop"), encoding="utf-8")
    with pytest.raises(DataError, match="answers"):
        spoiled.evaluate()


def test_looking_at_the_test_split_is_counted_and_validation_is_not(spoiled: Workplace) -> None:
    (spoiled.store / "test-openings.jsonl").unlink()
    assert spoiled.evaluate()["test_openings"] == 1
    assert spoiled.evaluate(split="validation")["test_openings"] is None
    assert spoiled.evaluate()["test_openings"] == 2
    assert [entry["run"] for entry in lines(spoiled.store / "test-openings.jsonl")] == ["colours-1"] * 2


@pytest.mark.parametrize(
    ("setting", "value", "reading"),
    [
        ("split", "validation", lambda facts: facts["verdict"]["rows"]),
        ("max_rows", 20, lambda facts: facts["verdict"]["rows"]),
        ("max_new_tokens", 1, lambda facts: facts["verdict"]["tuned"]["value"]),
        ("task", "text", lambda facts: [metric["name"] for metric in facts["metrics"]]),
        ("metric", "macro_f1", lambda facts: facts["verdict"]["name"]),
        ("margin", 1.0, lambda facts: facts["verdict"]["verdict"]),
        ("retention", False, lambda facts: facts["retention"]),
        ("suites", {"loss_margin": 50.0}, lambda facts: facts["retention"]["verdict"]),
        ("resampling", {"samples": 150}, lambda facts: facts["conditions"]["settings"]["resampling"]),
        ("confidence", 0.8, lambda facts: facts["verdict"]["difference"]["low"]),
        ("worst", 3, lambda facts: len(facts["worst"])),
    ],
)
def test_every_setting_changes_the_result(
    spoiled: Workplace, evaluated: dict[str, Any], setting: str, value: Any, reading: Any
) -> None:
    changed = spoiled.evaluate(**{setting: value})
    assert reading(changed) != reading(evaluated)
    if setting != "resampling":  # with fewer than 100 rows no interval is resampled; tests/score shows its effect
        assert without_settings(changed) != without_settings(evaluated)


def test_the_seed_is_that_of_the_resampling(tmp_path: Path, tiny_base: Path) -> None:
    rows = [{"text": f"a text number {n} of many", "id_in_file": n} for n in range(400)]
    place = build(tmp_path, tiny_base, rows, steps=2)
    first, second = (place.evaluate(resampling={"samples": 200, "seed": seed}, retention=False) for seed in (0, 1))
    assert first["verdict"]["difference"]["value"] == second["verdict"]["difference"]["value"]
    assert first["verdict"]["difference"]["low"] != second["verdict"]["difference"]["low"]
    assert first["metric"] == {"value": "loss", "reason": "plain text has no answer to compare"}
    assert [metric["name"] for metric in first["metrics"]] == ["loss", "bits_per_byte", "perplexity"]
    assert lines(place.run / "evaluation" / "answers.jsonl")[0]["output"] == ""


def test_the_length_of_answers_is_chosen_by_the_right_answers(spoiled: Workplace) -> None:
    heard = Heard()
    facts = spoiled.evaluate(progress=heard)
    choice = heard.choices["evaluate.max_new_tokens"]
    assert (choice.value, choice.reason) == (14, "the longest right answer has 5 tokens")
    assert facts["conditions"]["decoding"]["max_new_tokens"] == 14
    assert heard.said[-1].startswith("better: accuracy")


def test_truncated_answers_are_reported(spoiled: Workplace) -> None:
    facts = spoiled.evaluate(max_new_tokens=2)
    ended = next(metric for metric in facts["metrics"] if metric["name"] == "ended")
    assert ended["tuned"]["value"] == 0
    assert "cut off at the limit" in facts["worst"][0]["note"]


# --- planted faults ---------------------------------------------------------------------------------------------------


def test_the_base_itself_is_identical_and_not_better(spoiled: Workplace) -> None:
    reseal(spoiled.run / "model", base_weights(spoiled))
    facts = spoiled.evaluate()
    assert facts["verdict"]["verdict"] == "identical"
    assert facts["retention"]["verdict"] == "kept"


def test_the_base_with_noise_is_not_better(spoiled: Workplace) -> None:
    random = torch.Generator().manual_seed(0)
    noisy = {
        name: tensor + 1e-4 * torch.randn(tensor.shape, generator=random).to(tensor.dtype)
        for name, tensor in base_weights(spoiled).items()
    }
    reseal(spoiled.run / "model", noisy)
    facts = spoiled.evaluate()
    assert facts["verdict"]["verdict"] in ("identical", "cannot tell", "equivalent")
    loss = next(metric for metric in facts["metrics"] if metric["name"] == "loss")
    assert loss["verdict"] == "equivalent"


def test_weights_that_are_not_numbers_are_found(spoiled: Workplace) -> None:
    tensors = load_file(str(spoiled.run / "model" / WEIGHTS))
    reseal(spoiled.run / "model", {name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()})
    with pytest.raises(NonFiniteError):
        spoiled.evaluate()


def change_file(folder: Path, name: str, old: str, new: str) -> None:
    """Publish a model again with one file changed."""
    manifest = artefact.read(folder, "model")
    copy = Path(shutil.copytree(folder, folder.parent / "copy"))
    with artefact.publish(folder, kind="model", facts=manifest.facts) as target:
        for path in copy.iterdir():
            if path.name != artefact.MANIFEST:
                shutil.copy(path, target)
        text = (target / name).read_text(encoding="utf-8")
        assert old in text
        (target / name).write_text(text.replace(old, new), encoding="utf-8")


def test_another_chat_template_on_one_side_is_refused(spoiled: Workplace) -> None:
    change_file(spoiled.run / "model", "chat_template.jinja", "<|assistant|>", "<|tool|>")
    with pytest.raises(ModelError, match="becomes another prompt"):
        spoiled.evaluate()


def test_other_stop_tokens_on_one_side_are_refused(spoiled: Workplace) -> None:
    change_file(spoiled.run / "model", "generation_config.json", '"eos_token_id": [2]', '"eos_token_id": [2, 7]')
    with pytest.raises(ModelError, match="stops at"):
        spoiled.evaluate()


def test_a_changed_model_file_is_refused(spoiled: Workplace) -> None:
    path = spoiled.run / "model" / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="changed since it was written"):
        spoiled.evaluate()


def test_a_refused_evaluation_does_not_count_as_an_opening_and_keeps_the_earlier_one(spoiled: Workplace) -> None:
    before = lines(spoiled.store / "test-openings.jsonl")
    with pytest.raises(SettingsError, match="'field_f1' is not measured on label rows"):
        spoiled.evaluate(metric="field_f1")
    assert lines(spoiled.store / "test-openings.jsonl") == before
    assert artefact.exists(spoiled.run / "evaluation", "evaluation")


def test_a_run_without_a_model_is_refused(spoiled: Workplace) -> None:
    shutil.rmtree(spoiled.run / "model")
    with pytest.raises(DataError, match="no manifest"):
        spoiled.evaluate()


def test_a_split_without_rows_is_refused(spoiled: Workplace, tmp_path: Path) -> None:
    (tmp_path / "few.jsonl").write_text('{"text": "a", "label": "b"}\n{"text": "c", "label": "b"}\n', encoding="utf-8")
    snapshot = prepare(
        DataSettings(train="few.jsonl"), PrepareSettings(test_share=0.0, validation_share=0.0),
        folder=tmp_path, store=spoiled.store, seed=0, progress=Silent(),
    ).path  # fmt: skip
    place = Workplace(store=spoiled.store, snapshot=snapshot, base=spoiled.base, run=spoiled.run)
    with pytest.raises(DataError, match="no test rows"):
        place.evaluate()


def test_rows_too_long_to_train_on_are_asked_but_not_measured(spoiled: Workplace) -> None:
    facts = spoiled.evaluate(text=TextSettings(max_tokens=22))
    loss = next(metric for metric in facts["metrics"] if metric["name"] == "loss")
    assert 0 < loss["rows"] < facts["verdict"]["rows"]


def test_of_two_answers_the_better_one_should_be_likelier(spoiled: Workplace, tmp_path: Path) -> None:
    rows = [{"prompt": f"question {n}", "chosen": "yes", "rejected": "no" * (1 + 9 * (n % 2))} for n in range(40)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    snapshot = prepare(
        DataSettings(train="pairs.jsonl"), PrepareSettings(validation_share=0.5), folder=tmp_path, store=spoiled.store,
        seed=0, progress=Silent(),
    ).path  # fmt: skip
    place = Workplace(store=spoiled.store, snapshot=snapshot, base=spoiled.base, run=spoiled.run)
    facts = place.evaluate(split="validation")
    assert facts["metric"]["value"] == "preferred"
    preferred = facts["verdict"]
    model = load_base(spoiled.base, device=torch.device("cpu"))
    renderer = open_renderer(spoiled.base.folder, TextSettings())
    held_out = load_split(snapshot, "validation")
    sides = [[render(side(row), renderer)[0] for row in held_out] for side in (lambda row: row, turned)]
    nats = [[loss for loss, _ in row_losses(model, each)] for each in sides]
    right = [better < worse for better, worse in zip(*nats, strict=True)]
    assert sum(right) > 0, "ten times no is less likely than yes, whatever the model"
    assert preferred["base"]["value"] == pytest.approx(sum(right) / len(right))
    assert preferred["rows"] == len(held_out)
    kept = stored.read(spoiled.run)
    assert np.array_equal(kept.sides["base"].numbers["margin"] > 0, right), "and is there to be compared with later"


def test_a_model_that_packing_cannot_serve_is_measured_row_by_row(labels: Workplace) -> None:
    """Its layers carry a state from token to token: packed rows would leak into one another."""
    torch.manual_seed(0)
    config = Qwen3NextConfig(
        vocab_size=268, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, layer_types=["linear_attention", "full_attention"], num_experts=0,
        mlp_only_layers=[0, 1], linear_num_value_heads=4, linear_num_key_heads=2, linear_key_head_dim=8,
        linear_value_head_dim=8, initializer_range=0.3,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    renderer = open_renderer(find(str(labels.base.folder), labels.store).folder, TextSettings())
    groups = gather(load_split(labels.snapshot, "validation")[:5], renderer).sequences
    found = losses(model, groups, progress=Silent())
    for row, (sequence,) in enumerate(groups):
        ids = torch.tensor(sequence.ids[None].astype("int64"))
        with torch.no_grad():
            logp = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].double(), dim=-1)
        wanted = -sum(
            float(weight) * logp[place - 1, ids[0, place]].item()
            for place, weight in enumerate(sequence.weights)
            if weight
        )
        assert found[row] == pytest.approx([wanted, float(sequence.weights.sum())], rel=1e-4)
