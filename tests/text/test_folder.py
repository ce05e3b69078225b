"""The reader of a base's small files: allowed keys only, broken files explained."""

import json
from pathlib import Path

import pytest

from metier.core.errors import ModelError
from metier.text import folder
from metier.text.render import open_renderer, open_trained
from metier.text.settings import TextSettings
from tests.text.bases import base


def test_reads_names_stops_and_context(tmp_path: Path):
    facts = folder.read(base(tmp_path))
    assert facts.named_tokens == {"bos_token": "<bos>", "eos_token": "<|end|>", "pad_token": "<pad>"}
    assert facts.stop_ids == (4, 2)
    assert facts.context == 128


def test_never_takes_code_or_paths(tmp_path: Path):
    path = base(tmp_path, auto_map={"AutoTokenizer": "evil.py"}, tokenizer_file="/etc/passwd")
    assert "evil" not in repr(folder.read(path))
    assert "passwd" not in repr(folder.read(path))


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json", "config.json"])
@pytest.mark.parametrize("content", ["{", "[]", "\udcff", "[" * 100_000])
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: str):
    path = base(tmp_path)
    (path / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ModelError, match=name):
        folder.read(path)


def test_an_endless_configuration_is_refused(tmp_path: Path):
    path = base(tmp_path)
    with (path / "config.json").open("wb") as stream:
        stream.truncate(40 << 20)
    with pytest.raises(ModelError, match="32 MiB"):
        folder.read(path)


def test_tokens_may_be_objects(tmp_path: Path):
    path = base(tmp_path, eos_token={"content": "<eos>", "lstrip": False})
    assert folder.read(path).named_tokens["eos_token"] == "<eos>"


def test_the_template_file_goes_first_and_a_list_has_a_default(tmp_path: Path):
    path = base(
        tmp_path, template=None, chat_template=[{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]
    )
    assert folder.read(path).chat_template == "d"
    (path / "chat_template.jinja").write_text("file", encoding="utf-8")
    assert folder.read(path).chat_template == "file"


def test_model_max_length_counts_only_when_it_says_something(tmp_path: Path):
    assert folder.read(base(tmp_path / "a", context=None, model_max_length=99)).context == 99
    assert folder.read(base(tmp_path / "b", context=None, model_max_length=10**30)).context is None


def test_the_context_of_an_adapter_is_its_base_s(tmp_path: Path):
    whole, adapter = base(tmp_path / "base"), base(tmp_path / "adapter", context=None, model_max_length=16)
    assert folder.read(adapter).context == 16
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert folder.read(adapter).context is None
    reads = open_renderer(whole, TextSettings()).limit
    assert open_trained(adapter, whole, TextSettings()).limit == reads
    assert open_trained(adapter, whole, TextSettings(max_tokens=reads - 9)).limit == reads - 9


def test_a_language_model_inside_a_larger_one(tmp_path: Path):
    path = base(tmp_path)
    (path / "config.json").write_text(json.dumps({"text_config": {"max_position_embeddings": 77}}), encoding="utf-8")
    assert folder.read(path).context == 77
