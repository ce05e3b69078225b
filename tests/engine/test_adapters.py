import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from metier.core.errors import ModelError
from metier.engine.adapters import read_adapter
from metier.engine.decoder import opened
from metier.engine.limits import Limits
from tests.engine.crowd import ask, build, prompts


def write(folder: Path, kind: str = "llama", seed: int = 1, **options: object) -> Path:
    """Train nothing, but leave an adapter of PEFT's with random matrices."""
    chosen = {
        "r": 4,
        "fan_in_fan_out": kind == "gpt2",
        "lora_alpha": 8,
        "target_modules": "all-linear",
        "task_type": "CAUSAL_LM",
    } | options
    model = get_peft_model(build(kind), LoraConfig(**chosen))  # pyrefly: ignore
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3)
    model.save_pretrained(str(folder))
    return folder


def peft_answer(folder: Path, ids: list[int], kind: str = "llama") -> list[int]:
    model = PeftModel.from_pretrained(build(kind), str(folder)).eval()
    out = model.generate(
        input_ids=torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    return out[0, len(ids) :].tolist()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_many_adapters_and_the_base_in_one_batch_answer_as_each_alone(kind: str, tmp_path: Path) -> None:
    first, second, third = ("c_attn", "c_fc", "c_proj") if kind == "gpt2" else ("q_proj", "up_proj", "v_proj")
    options: list[dict[str, object]] = [
        {}, {"r": 7, "use_rslora": True}, {"rank_pattern": {first: 2}}, {"alpha_pattern": {second: 40}},
        {"target_modules": [third]},
    ]  # fmt: skip
    folders = [write(tmp_path / str(n), kind, seed=n, **each) for n, each in enumerate(options)]
    asked = prompts(11, 40)
    model = build(kind)
    with opened(model, Limits(together=11)) as engine:
        for number, folder in enumerate(folders):
            engine.adapters.know(f"a{number}", folder)
        names = [None if n % 6 == 5 else f"a{n % 6}" for n in range(11)]
        said = ask(engine, [{"ids": ids, "adapter": name} for ids, name in zip(asked, names, strict=True)])
    answers: set[tuple[int, ...]] = set()
    for ids, name, answer in zip(asked, names, said, strict=True):
        if name is None:
            plain = build(kind).generate(
                torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
            )
            assert answer.tokens == plain[0, len(ids) :].tolist()
        else:
            assert answer.tokens == peft_answer(folders[int(name[1:])], ids, kind)
        answers.add(tuple(answer.tokens))
    assert len(answers) > 8


def test_a_beginning_is_shared_across_adapters_only_where_that_is_exact(tmp_path: Path) -> None:
    early = write(tmp_path / "early", target_modules=["q_proj"])
    late = write(tmp_path / "late", target_modules=["q_proj", "up_proj"], layers_to_transform=[1])
    ids = [3, 4, 5, 6] * 20
    with opened(build()) as engine:
        engine.adapters.know("early", early)
        engine.adapters.know("late", late)
        ask(engine, [{"ids": ids}])
        found = ask(engine, [{"ids": ids, "adapter": "early"}, {"ids": ids, "adapter": "late"}])
    assert [said.end.cached for said in found if said.end] == [0, 64]
    assert found[0].tokens == peft_answer(early, ids)
    assert found[1].tokens == peft_answer(late, ids)


def test_adapters_come_and_go_within_their_memory(tmp_path: Path) -> None:
    folders = [write(tmp_path / str(n), seed=n) for n in range(3)]
    size = read_adapter(build(), folders[0], "x").bytes
    with opened(build(), Limits(adapter_bytes=2 * size)) as engine:
        for number, folder in enumerate(folders):
            engine.adapters.know(str(number), folder)
        for name in ("0", "1", "0", "2"):
            ask(engine, [{"ids": [3, 4], "adapter": name}])
        assert engine.adapters.loaded == ("0", "2")
        crowd = ask(engine, [{"ids": [3, 4], "adapter": str(n % 3)} for n in range(6)])
        assert [said.tokens for said in crowd[:3]] == [peft_answer(folder, [3, 4]) for folder in folders]
        engine.adapters.forget("0")
        with pytest.raises(ModelError, match="adapter '0': not known; wanted: one of 1, 2"):
            ask(engine, [{"ids": [3], "adapter": "0"}])
        engine.adapters.know("1", folders[0])  # a new version under an old name
        assert ask(engine, [{"ids": [3, 4], "adapter": "1"}])[0].tokens == crowd[0].tokens


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"use_dora": True}, "it is DoRA"),
        ({"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]}, "whole modules"),
        ({"bias": "all"}, "biases"),
    ],
)
def test_what_cannot_be_mixed_says_so(options: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        read_adapter(build(), write(tmp_path, **options), "x")


def test_adapters_that_would_silently_not_apply_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    weights = folder / "adapter_model.safetensors"
    good = load_file(str(weights))
    faults = {
        "does not fit": {key.replace("layers.0", "layers.7"): tensor for key, tensor in good.items()},
        "none of its matrices": {key: torch.zeros_like(tensor) for key, tensor in good.items()},
        "empty": {},
    }
    for words, tensors in faults.items():
        save_file(tensors, str(weights))
        with pytest.raises(ModelError, match=words):
            read_adapter(build(), folder, "x")
    save_file(good, str(weights))
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(ModelError, match="bytes"):
        read_adapter(build(), folder, "x")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(ModelError, match="its kind is IA3"):
        read_adapter(build(), folder, "x")
