"""The certificate holds for honest runs, and every planted fault breaks it at the hop where it happened."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from metier.core import artefact
from metier.core.errors import DataError, ParityError
from metier.core.progress import Silent
from metier.core.types import Reasoned
from metier.model.find import Base, find
from metier.model.load import load_base
from metier.promote import parity
from metier.promote.settings import PromoteSettings
from tests.promote.conftest import Trained, publish_model, train

ADAPTER = "adapter_model.safetensors"


def prove(trained: Trained, base: Base | None = None, **settings: Any) -> dict[str, Any]:
    parity.prove(trained.run, base or trained.base, settings=PromoteSettings(**settings), progress=Silent())
    return certificate(trained)


def certificate(trained: Trained) -> dict[str, Any]:
    artefact.verify(trained.run / "parity", "parity")
    return json.loads((trained.run / "parity" / "parity.json").read_text())


def broken_at(trained: Trained, hop: str, words: str, base: Base | None = None, **settings: Any) -> dict[str, Any]:
    with pytest.raises(ParityError) as caught:
        prove(trained, base, **settings)
    assert caught.value.exit_code == 1
    assert caught.value.found.startswith(f"hop '{hop}': ")
    assert words in str(caught.value), caught.value
    written = certificate(trained)
    assert not written["holds"]
    assert [entry["ok"] for entry in written["hops"]] == [True] * (len(written["hops"]) - 1) + [False]
    assert written["hops"][-1]["name"] == hop
    return written


# --- honest runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "full", "layers"])
def test_an_honest_run_holds_at_every_hop(runs: dict[str, Trained], method: str) -> None:
    written = prove(runs[method])
    assert written["holds"]
    assert [hop["name"] for hop in written["hops"]] == ["trained", "saved", "reloaded", "merged"]
    reloaded, merged = written["hops"][2:]
    assert reloaded["largest_kl"] < 1e-12
    assert merged["largest_kl"] < 1e-10
    assert reloaded["tokens"] == written["hops"][0]["tokens"] > 0
    assert reloaded["greedy_agreement"] == merged["greedy_agreement"] == 1
    # The faults below can be seen only because training moved the model much further than the limits.
    assert written["from_base"]["mean_kl"] > 1000 * written["limits"]["mean_kl"]


WAYS = {
    "lora": {"lora": {"init": "pissa", "dora": True, "rslora": True, "save_modules": ["embeddings"]}},
    "layers": {"layers": ["0", "*.mlp"]},
    "ia3": {},
    "peft": {"peft": {"type": "loha", "config": {"r": 4}}},
    "bottleneck": {"bottleneck": {"width": 8}},
    "prompt": {"virtual": {"tokens": 4}},
    "prefix": {"virtual": {"tokens": 4}},
}


@pytest.mark.parametrize("method", WAYS)
def test_every_way_of_updating_weights_holds(tmp_path: Path, tiny_base: Path, method: str) -> None:
    written = prove(train(tmp_path, tiny_base, method, more=WAYS[method]))
    assert written["holds"]
    reloaded, merged = written["hops"][2:]
    assert reloaded["largest_kl"] < 1e-10
    assert written["from_base"]["mean_kl"] > 100 * written["limits"]["mean_kl"]
    if method in ("bottleneck", "prompt", "prefix"):
        assert merged["detail"].startswith("serve it on its base, it cannot be merged: ")
        assert not (tmp_path / "runs" / method / "merged").exists()
    else:
        assert merged["largest_kl"] < 1e-9


def test_a_tokenizer_that_was_cut_shorter_than_the_base_reads_breaks_nothing(tmp_path: Path, tiny_base: Path) -> None:
    """Beside an adapter stands no config.json: what the tokenizer says would be taken for the context."""
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    named = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(named | {"model_max_length": 16}))
    assert prove(train(tmp_path, base, "lora"))["holds"]


def test_an_adapter_is_merged_into_a_plain_model(runs: dict[str, Trained]) -> None:
    prove(runs["lora"])
    assert artefact.verify(runs["lora"].run / "merged", "model").facts["merged"]
    assert not (runs["lora"].run / "merged" / "adapter_config.json").exists()


def test_a_full_fine_tune_is_its_own_merged_model_and_says_so(runs: dict[str, Trained]) -> None:
    written = prove(runs["full"])
    assert "model/ is the plain model" in written["hops"][3]["detail"]
    assert not (runs["full"].run / "merged").exists()


def test_merge_can_be_left_out(lora: Trained) -> None:
    written = prove(lora, merge=False)
    assert [hop["name"] for hop in written["hops"]] == ["trained", "saved", "reloaded"]
    assert not (lora.run / "merged").exists()


def test_a_run_that_is_not_trained_to_its_end_is_refused(lora: Trained) -> None:
    artefact.remove(lora.run / "model")
    with pytest.raises(DataError, match=r"no manifest\.json"):
        prove(lora)


def test_weights_rounded_to_bfloat16_hold_within_wider_limits_only(tmp_path: Path, tiny_base: Path) -> None:
    rounded = train(tmp_path, tiny_base, "full", precision="bfloat16")
    written = prove(rounded)
    assert 1e-6 < written["hops"][2]["mean_kl"] < 0.01
    broken_at(rounded, "reloaded", "mean KL", mean_kl=1e-6)


def test_an_adapter_of_a_quantised_base_reloads_exactly_and_merges_within_wider_limits(
    tmp_path: Path, tiny_base: Path
) -> None:
    run = train(tmp_path, tiny_base, "lora", quantise="int8")
    reloaded, merged = prove(run)["hops"][2:]
    assert reloaded["mean_kl"] < 1e-12
    assert 1e-7 < merged["mean_kl"] < 0.01
    broken_at(run, "merged", "mean KL", mean_kl=1e-7)
    publish_model(run, quantise="none")  # the planted fault: nobody wrote down what the base was
    broken_at(run, "reloaded", "mean KL")


def test_derived_limits_are_told_with_their_reason(lora: Trained) -> None:
    class Listener(Silent):
        def __init__(self) -> None:
            self.told: list[Reasoned] = []

        def chose(self, choice: Reasoned) -> None:
            self.told.append(choice)

    listener = Listener()
    parity.prove(lora.run, lora.base, settings=PromoteSettings(largest_kl=0.5, merge=False), progress=listener)
    assert [choice.name for choice in listener.told] == ["promote.mean_kl", "promote.least_agreement"]
    assert all("float32" in choice.reason for choice in listener.told)
    assert certificate(lora)["limits"] == {"largest_kl": 0.5, "mean_kl": 1e-7, "least_agreement": 0.99}


def test_a_run_that_changed_next_to_nothing_is_said_to_prove_little(tmp_path: Path, tiny_base: Path) -> None:
    faint = train(tmp_path, tiny_base, "full", strength=1e-6)
    assert "so this proves little" in prove(faint)["hops"][0]["detail"]


# --- planted faults: what was saved ----------------------------------------------------------------------------------


def edit_tensors(name: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = load_file(str(folder / name))
        change(tensors)
        save_file(tensors, str(folder / name), metadata={"format": "pt"})

    return edit


def nudge(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if "lora_B" in name)
    tensors[name] = tensors[name] * 1.05


def drop_one(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[next(name for name in tensors if "lora_B" in name)]


def rename_all(tensors: dict[str, torch.Tensor]) -> None:
    for name in list(tensors):
        tensors["base_model.model.wrapped." + name.removeprefix("base_model.model.")] = tensors.pop(name)


def zero_updates(tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if "lora_B" in name:
            tensor.zero_()


def not_a_number(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if "lora_B" in name)
    tensors[name][0] = float("nan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (nudge, "KL"),
        (drop_one, "tensor"),
        (rename_all, "found no place"),
        (zero_updates, "none of which changes the base"),
        (not_a_number, "inf"),
    ],
)
def test_an_adapter_saved_wrongly_is_found_on_reload(
    lora: Trained, change: Callable[[dict[str, torch.Tensor]], None], words: str
) -> None:
    publish_model(lora, change=edit_tensors(ADAPTER, change))
    broken_at(lora, "reloaded", words)


def test_an_adapter_that_is_silently_not_applied_is_recognised_as_the_base(
    lora: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "load_tuned", lambda base, folder: load_base(base))
    broken_at(lora, "reloaded", "it answers as the base does")


@pytest.mark.parametrize("name", [ADAPTER, "adapter_config.json", "tokenizer.json"])
def test_a_file_changed_on_disk_is_found(lora: Trained, name: str) -> None:
    path = lora.run / "model" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    broken_at(lora, "saved", f"{name}: changed since it was written")


def test_a_missing_file_is_found(lora: Trained) -> None:
    (lora.run / "model" / ADAPTER).unlink()
    broken_at(lora, "saved", "missing")


def test_a_lost_head_is_found(tmp_path: Path, untied_base: Path) -> None:
    trained = train(tmp_path, untied_base, "full")
    assert prove(trained)["holds"]
    weights = "model.safetensors"
    publish_model(trained, change=edit_tensors(weights, lambda tensors: tensors.pop("lm_head.weight")))
    broken_at(trained, "reloaded", "lm_head.weight")


def test_a_head_replaced_by_the_embedding_is_found(tmp_path: Path, untied_base: Path) -> None:
    """The quiet way to lose a head: config.json says that it is tied."""
    trained = train(tmp_path, untied_base, "full")

    def tie(folder: Path) -> None:
        edit_tensors("model.safetensors", lambda tensors: tensors.pop("lm_head.weight"))(folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))

    publish_model(trained, change=tie)
    broken_at(trained, "reloaded", "KL")


def test_another_base_is_found(lora: Trained, untied_base: Path) -> None:
    broken_at(lora, "saved", "not the one this run was trained on", find(str(untied_base), untied_base))


# --- planted faults: what is rendered -------------------------------------------------------------------------------


def set_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|stop|>", "<|stop|>\n"))


def set_prompt(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(
        path.read_text().replace("{% if add_generation_prompt %}", "{% if add_generation_prompt %}<|tool|>")
    )


def set_stop(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": [0]}))
    path = folder / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"eos_token": "<|stop|>"', '"eos_token": "<|pad|>"'))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_template, "tokens"),
        (set_prompt, "is not how the whole begins"),
        (set_stop, "stop tokens are [0], trained with [2]"),
    ],
)
def test_a_folder_that_renders_otherwise_is_found(lora: Trained, change: Callable[[Path], None], words: str) -> None:
    publish_model(lora, change=change)
    broken_at(lora, "saved", words)


# --- planted faults: merged -----------------------------------------------------------------------------------------


def test_a_merge_that_changes_the_model_is_found(lora: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = parity.merge

    def careless(base: Base, model_folder: Path, out: Path, **more: Any) -> Path:
        honest(base, model_folder, out)
        facts = dict(artefact.read(out).facts)
        with artefact.publish(out.with_name("again"), kind="model", facts=facts) as folder:
            for path in out.iterdir():
                if path.name != artefact.MANIFEST:
                    (folder / path.name).write_bytes(path.read_bytes())
            edit_tensors("model.safetensors", lambda tensors: tensors["model.norm.weight"].mul_(1.02))(folder)
        return out.with_name("again")

    monkeypatch.setattr(parity, "merge", careless)
    written = broken_at(lora, "merged", "KL")
    assert written["hops"][2]["ok"]


def test_a_merge_into_nothing_is_recognised_as_the_base(lora: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(base: Base, model_folder: Path, out: Path, **more: Any) -> Path:
        with artefact.publish(out, kind="model") as folder:
            for source in (model_folder, base.folder):
                for path in source.iterdir():
                    if path.name not in {artefact.MANIFEST, ADAPTER, "adapter_config.json"}:
                        (folder / path.name).write_bytes(path.read_bytes())
            (folder / "chat_template.jinja").write_bytes((model_folder / "chat_template.jinja").read_bytes())
        return out

    monkeypatch.setattr(parity, "merge", forgetful)
    broken_at(lora, "merged", "it answers as the base does")


# --- planted faults: the record itself ------------------------------------------------------------------------------


def test_a_changed_record_is_found(lora: Trained) -> None:
    path = lora.run / "parity-reference" / "rows.json"
    path.write_text(path.read_text().replace("row1", "row2", 1))
    broken_at(lora, "trained", "rows.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.update(logprobs=tensors["logprobs"][:0]), "answers of shape"),
        (lambda tensors: tensors.update(logprobs=tensors["logprobs"] * 2), "no probabilities"),
        (lambda tensors: tensors.clear(), "not a parity reference"),
    ],
)
def test_a_record_that_could_prove_nothing_is_refused(
    lora: Trained, change: Callable[[dict[str, torch.Tensor]], None], words: str
) -> None:
    old = lora.run / "parity-reference"
    facts = artefact.read(old).facts
    rows = (old / "rows.json").read_bytes()
    tensors = load_file(str(old / "reference.safetensors"))
    change(tensors)
    with artefact.publish(old, kind="parity-reference", facts=facts) as folder:
        (folder / "rows.json").write_bytes(rows)
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()}, str(folder / "reference.safetensors")
        )
    broken_at(lora, "trained", words)


def test_a_snapshot_that_lost_the_rows_is_found(lora: Trained, tmp_path: Path) -> None:
    settings = json.loads((lora.run / "settings.json").read_text())
    with artefact.publish(
        tmp_path / "other", kind="snapshot", facts=artefact.read(Path(settings["snapshot"])).facts
    ) as folder:
        for split in ("train", "validation"):
            (folder / f"{split}.jsonl").write_text("")
    (lora.run / "settings.json").write_text(json.dumps(settings | {"snapshot": str(tmp_path / "other")}))
    broken_at(lora, "saved", "the snapshot this run was trained on")


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strict", "loose", "words"),
    [
        ({"largest_kl": 1e-4}, {"largest_kl": 50.0}, "largest KL"),
        ({"mean_kl": 1e-6}, {"mean_kl": 50.0}, "mean KL"),
        ({"least_agreement": 1.0}, {"least_agreement": 0.0}, "same next token"),
    ],
)
def test_every_limit_changes_the_answer(
    lora: Trained, strict: dict[str, float], loose: dict[str, float], words: str
) -> None:
    wide = {"largest_kl": 50.0, "mean_kl": 50.0, "least_agreement": 0.0}

    def stretch(tensors: dict[str, torch.Tensor]) -> None:
        for tensor in tensors.values():
            tensor.mul_(1.3)

    publish_model(lora, change=edit_tensors(ADAPTER, stretch))
    assert prove(lora, **wide | loose)["holds"]
    broken_at(lora, "reloaded", words, **wide | strict)
