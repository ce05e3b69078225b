import json
import shutil

from metier.advise.bases import candidates as module
from metier.advise.bases.candidates import Search, candidates


def test_what_is_given_below_and_in_the_cache_is_found_once(tiny_base, tmp_path):
    project, cache = tmp_path / "project", tmp_path / "hub"
    shutil.copytree(tiny_base, project / "models" / "one")
    shutil.copytree(tiny_base, project / ".hidden" / "two")
    version = cache / "models--org--three" / "snapshots" / "abc"
    shutil.copytree(tiny_base, version)
    (version.parent.parent / "refs").mkdir()
    (version.parent.parent / "refs" / "main").write_text("abc")
    shelf = candidates(Search(given=("models/one",), below=(project,), cache=cache), project)
    assert [(entry.name, entry.origin, entry.weights) for entry in shelf.candidates] == [
        ("models/one", "given", True), ("org/three", "cache", True), ("metier-tiny", "bundled", True),
    ]  # fmt: skip
    assert shelf.candidates[1].base is not None
    assert shelf.candidates[1].base.name == "org/three"


def test_what_cannot_be_used_is_listed_with_the_reason(tiny_base, tmp_path):
    for name in ("bare", "pickled", "adapter", "words"):
        shutil.copytree(tiny_base, tmp_path / name)
    for name in ("bare", "pickled", "adapter"):
        (tmp_path / name / "model.safetensors").unlink()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "words" / "tokenizer.json").unlink()
    found = {entry.name: entry for entry in candidates(Search(given=(), below=(tmp_path,)), tmp_path).candidates}
    assert "no *.safetensors" in found["./bare"].why
    assert found["./bare"].base is not None, "memory can be planned without weights"
    assert "pickle" in found["./pickled"].why
    assert (found["./adapter"].base, found["./words"].base) == (None, None)
    assert "an adapter" in found["./adapter"].why
    assert "no tokenizer.json" in found["./words"].why


def test_names_that_lead_nowhere_say_so(tmp_path):
    found = candidates(Search(given=("./gone", "org/not-here"), bundled=False), tmp_path).candidates
    assert "no such folder" in found[0].why
    assert "hub cannot be asked" in found[1].why
    assert all(entry.base is None for entry in found)


def test_no_more_than_a_shelf_is_looked_at(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"m{number}").mkdir()
        (tmp_path / f"m{number}" / "config.json").write_text(json.dumps({"model_type": "llama"}))
        (tmp_path / f"m{number}" / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(module, "MOST_FOUND", 2)
    shelf = candidates(Search(given=(), below=(tmp_path,), bundled=False), tmp_path)
    assert (len(shelf.candidates), shelf.more) == (2, 1)
