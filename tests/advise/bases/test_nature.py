"""What the files of a base say, and files that do not tell the truth."""

import shutil

import pytest

from metier.advise.bases import nature
from metier.advise.bases.features import features
from metier.model.find import find_config
from tests.conftest import TEMPLATE, write_config, write_tokenizer

WITH_TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}" + TEMPLATE.replace(
    "{{ m['content'] }}", "{{ m['content'] }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE


@pytest.fixture
def spoilt(tiny_base, tmp_path):
    return shutil.copytree(tiny_base, tmp_path / "base")


def test_an_honest_base(tiny_base):
    found = nature.read(tiny_base)
    assert (found.architecture, found.layers, found.context, found.vocabulary) == ("llama", 2, 256, 268)
    assert found.parameters == found.stored
    assert found.faults == ()
    assert found.disk == (tiny_base / "model.safetensors").stat().st_size
    assert (found.chat, found.system, found.tools) == (True, True, False)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"num_hidden_layers": 32}, "parameters, the files hold"),
        ({"intermediate_size": 4096}, "the file holds"),
        ({"model_type": "lama"}, "model_type 'lama'"),
        ({"quantization_config": {"quant_method": "gptq"}}, "few bits already (gptq)"),
    ],
)
def test_a_configuration_that_lies_is_found_out(spoilt, change, part):
    write_config(spoilt, **change)
    assert part in nature.read(spoilt).faults[0]


def test_a_broken_header_is_a_fault(spoilt):
    (spoilt / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00nonsense")
    assert any("header is not readable" in fault for fault in nature.read(spoilt).faults)


def test_templates_are_tried_rather_than_read(spoilt):
    for source, expected in ((None, (False, None, None)), (WITH_TOOLS, (True, True, True)),
                             (NO_SYSTEM, (True, False, False))):  # fmt: skip
        write_tokenizer(spoilt, template=source)
        found = nature.read(spoilt)
        assert (found.chat, found.system, found.tools) == expected
    write_tokenizer(spoilt, template="{% if %}")
    assert "cannot be used" in nature.read(spoilt).faults[0]


def words(folder) -> dict[str, str]:
    return {feature.name: feature.word for feature in features(find_config(str(folder), folder))}


def test_features_of_a_plain_architecture(tiny_base):
    found = words(tiny_base)
    assert (found["forest"], found["serving"], found["LoRA"]) == ("yes", "yes", "yes")


def test_features_of_a_recurrent_architecture_and_of_experts(tmp_path):
    write_tokenizer(tmp_path)
    write_config(
        tmp_path, model_type="mamba2", num_heads=8, head_dim=8, state_size=8, expand=2, n_groups=1, chunk_size=8
    )  # fmt: skip
    found = words(tmp_path)
    assert (found["forest"], found["serving"]) == ("fallback", "fallback")
    write_config(tmp_path, model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=64)
    assert words(tmp_path)["LoRA"] == "fallback", "experts are no linear layers: most weights get no adapter"


def test_what_is_too_large_to_be_tried_is_not_measured(tmp_path):
    write_tokenizer(tmp_path)
    write_config(tmp_path, hidden_size=8192, intermediate_size=65536, num_hidden_layers=80)
    found = {feature.name: feature for feature in features(find_config(str(tmp_path), tmp_path))}
    assert found["forest"].word == "not measured"
    assert "too large" in found["forest"].says
    assert found["LoRA"].word == "yes"
