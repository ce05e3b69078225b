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


def test_with_functions_the_template_for_them_is_taken(tmp_path: Path):
    """As the library takes it, to the last line end, whether the two stand in a list or in files."""
    theirs = pytest.importorskip("transformers")
    usual = "\n  {{ bos_token }}{% for m in messages %}\n  {{ m.content }}{% endfor %}\n  \n"
    with_tools = "  {% if tools %}\n{{ tools[0].name }}\n {% endif %}{{ messages[0].content }}|\r\n"
    named = [{"name": "default", "template": usual}, {"name": "tool_use", "template": with_tools}]
    listed, filed = base(tmp_path / "list", template=None, chat_template=named), base(tmp_path / "file", template=usual)
    (filed / "chat_template.jinja").write_text(usual, encoding="utf-8", newline="")
    (filed / "additional_chat_templates").mkdir()
    (filed / "additional_chat_templates" / "tool_use.jinja").write_text(with_tools, encoding="utf-8", newline="")
    messages = [{"role": "user", "content": "hello"}]
    for path in (listed, filed):
        library = theirs.PreTrainedTokenizerFast.from_pretrained(path)
        template = open_renderer(path, TextSettings()).template
        for tools in ([{"name": "find"}], None):
            wanted = library.apply_chat_template(messages, tools=tools, tokenize=False)
            assert template.render(messages, tools, generation=False) == wanted
            assert ("find" in wanted) == bool(tools)


def test_a_name_that_is_said_to_be_none_is_none(tmp_path: Path):
    """A server prints nothing for it; an id that only the model's configuration gives would be a token too many."""
    path = base(tmp_path, template="{{ bos_token }}{{ messages[0].content }}")
    said = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [4], "bos_token_id": 1}), encoding="utf-8")
    found = []
    for names in (said, said | {"bos_token": None}, {k: v for k, v in said.items() if k != "bos_token"}):
        (path / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
        template = open_renderer(path, TextSettings()).template
        found.append(template.render([{"content": "x"}], None, generation=False))
    assert found == ["<bos>x", "x", "<bos>x"]


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
