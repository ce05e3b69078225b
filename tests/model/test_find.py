"""Finding a base: every way in which it can be missing, damaged or dangerous says what to do, and opens nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.core.errors import ModelError
from metier.model import find as finding
from metier.model.find import check_safetensors, find, find_config, read_json
from tests.model.bases import change_json, copied, found, header_of, with_header

WEIGHTS = "model.safetensors"


def said(reference: str, folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        find(reference, folder)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_folder_is_found_from_the_project(tiny_base):
    base = find(tiny_base.name, tiny_base.parent)
    assert (base.kind, base.folder, base.name) == ("folder", tiny_base, tiny_base.name)
    assert base.config["model_type"] == "llama"
    assert base.digest == find(str(tiny_base), Path("/")).digest


def test_any_change_of_the_folder_is_another_base(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    digests = {found(folder).digest}
    change_json(folder / "generation_config.json", eos_token_id=[3])
    digests.add(found(folder).digest)
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    digests.add(found(folder).digest)
    digests.add(find_config(str(folder), folder).digest)
    assert len(digests) == 4


def test_the_digest_of_a_large_file_samples_it(tiny_base, monkeypatch):
    whole = found(tiny_base).digest
    monkeypatch.setattr(finding, "_WHOLE_HASH_BYTES", 1000)
    sampled = found(tiny_base).digest
    assert sampled != whole
    assert sampled == found(tiny_base).digest


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("no-such-folder", "no such folder"),
        ("../a/b/c", "no such folder"),
        ("metier-tny", "did you mean 'metier-tiny'?"),
        ("~nobody-at-all/model", "home directory"),
        ("x" * 5000, "too long"),
        ("a\0b", "null"),
        ("a b/c", "no hub id"),
        ("org/" + "x" * 200, "no hub id"),
        ("", "no config.json"),
    ],
)
def test_a_name_of_nothing_is_refused(tmp_path, reference, words):
    message = said(reference, tmp_path)
    assert words in message
    assert "wanted: " in message
    assert len(message) < 1000


def test_a_hub_id_without_a_network_says_so_plainly(tmp_path):
    message = said("org/name", tmp_path)
    assert "base 'org/name': not a folder here, and the hub cannot be reached (offline?)" in message
    assert "do: download the model elsewhere, copy its folder here and give its path" in message


def test_finding_needs_no_torch():
    code = (
        "import sys, metier.model.find, metier.model.settings; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_is_no_folder(tiny_base, tmp_path):
    assert "a file; wanted: a folder with config.json" in said(str(tiny_base / WEIGHTS), tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(tiny_base, tmp_path, name):
    folder = copied(tiny_base, tmp_path)
    (folder / name).unlink()
    assert f"no {name}" in said(str(folder), tmp_path)
    with pytest.raises(ModelError, match=f"no {name}"):
        find_config(str(folder), tmp_path)


def test_a_folder_without_weights_is_refused_and_fit_for_a_random_start(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    (folder / WEIGHTS).unlink()
    assert "no *.safetensors" in said(str(folder), tmp_path)
    assert find_config(str(folder / "config.json"), tmp_path).kind == "config"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl"])
def test_a_pickle_is_named_and_never_opened(tiny_base, tmp_path, name):
    """The pickle is a pipe that nobody writes to: whoever opened it would hang here for ever."""
    folder = copied(tiny_base, tmp_path)
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / name)
    message = said(str(folder), tmp_path)
    assert f"weights only as pickle ({name})" in message
    assert "wanted: *.safetensors (a pickle can run code, so metier never opens one)" in message
    assert "do: convert it" in message


def test_a_pickle_beside_safetensors_is_not_opened_either(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    os.mkfifo(folder / "pytorch_model.bin")
    assert found(folder).digest == found(tiny_base).digest


def test_an_adapter_is_no_base(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    (folder / "adapter_config.json").write_text("{}")
    assert "an adapter; wanted: a whole base model; do: name the base it belongs to" in said(str(folder), tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe{}", b"[" * 100_000, b"null"])
@pytest.mark.parametrize("name", ["config.json"])
def test_a_broken_configuration_is_named(tiny_base, tmp_path, name, content):
    folder = copied(tiny_base, tmp_path)
    (folder / name).write_bytes(content)
    assert str(folder / name) in said(str(folder), tmp_path)


def test_json_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        read_json(tmp_path / "none.json")
    with pytest.raises(ModelError, match="cannot be read"):
        read_json(tmp_path)


def test_truncated_weights_are_found_wherever_they_end(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    data = (tiny_base / WEIGHTS).read_bytes()
    header = len(data) - len(header_of(tiny_base / WEIGHTS)[1])
    for length in (0, 1, 7, 8, 9, 100, header - 1, header, header + 1, len(data) // 2, len(data) - 1):
        (folder / WEIGHTS).write_bytes(data[:length])
        message = said(str(folder), tmp_path)
        assert WEIGHTS in message
        assert "do: copy or download the file again" in message
    (folder / WEIGHTS).write_bytes(data + b"\0")
    assert "as its header says" in said(str(folder), tmp_path)
    (folder / WEIGHTS).write_bytes(data)
    assert found(folder).digest == found(tiny_base).digest


def test_one_truncated_shard_of_many_is_found(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    (folder / "second.safetensors").write_bytes((tiny_base / WEIGHTS).read_bytes()[:-5])
    assert "second.safetensors" in said(str(folder), tmp_path)


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff\xff",
        b'{"a": 1}',
        json.dumps({"a": ENTRY | {"data_offsets": [0, "4"]}}).encode(),
        json.dumps({"a": ENTRY | {"data_offsets": [0]}}).encode(),
        json.dumps({"a": ENTRY | {"data_offsets": {}}}).encode(),
        json.dumps({"a": ENTRY | {"data_offsets": [0, None]}}).encode(),
        json.dumps({"a": ENTRY | {"data_offsets": [0, float("inf")]}}).encode(),
        json.dumps({"a": ENTRY | {"data_offsets": [-4, 4]}}).encode(),
        json.dumps({"a": ENTRY | {"data_offsets": [2, 4]}}).encode(),
        json.dumps({"a": ENTRY | {"dtype": "EVIL"}}).encode(),
        json.dumps({"a": ENTRY | {"shape": [2]}}).encode(),
        json.dumps({"a": ENTRY | {"shape": [2**62, 4]}}).encode(),
        json.dumps({"a": ENTRY, "b": ENTRY}).encode(),
    ],
)
def test_a_header_of_garbage_is_refused(tmp_path, header):
    path = tmp_path / "x.safetensors"
    path.write_bytes(with_header(header, bytes(4)))
    with pytest.raises(ModelError, match=r"x\.safetensors"):
        check_safetensors(path)


def test_a_header_longer_than_the_world_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"\xff" * 8 + bytes(100))
    with pytest.raises(ModelError, match="cut off in its header"):
        check_safetensors(path)


def test_a_good_header_passes(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(with_header(json.dumps({"a": ENTRY, "__metadata__": {"format": "pt"}}).encode(), bytes(4)))
    check_safetensors(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bits_of_a_header_break_the_reader(tiny_base, tmp_path, data):
    content = bytearray((tiny_base / WEIGHTS).read_bytes())
    end = len(content) - len(header_of(tiny_base / WEIGHTS)[1])
    for place in data.draw(st.lists(st.integers(0, end - 1), min_size=1, max_size=3)):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    try:
        check_safetensors(path)
    except ModelError as error:
        told = str(error)
        assert "x.safetensors" in told
