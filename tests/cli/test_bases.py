"""`metier bases` on a tiny project: every table, every reason, and what its settings change."""

import json
import shutil
from pathlib import Path

from tests.cli.workshop import make_project
from tests.conftest import write_config

QUICK = (
    "--advise.rows", "6", "--advise.max-new-tokens", "3", "--prepare.validation-share", "0.3",
    "--advise.choosing.cache", "false",
)  # fmt: skip


def by_name(result) -> dict[str, dict]:
    return {base["name"]: base for base in result.json["bases"]}


def test_bases_of_a_project(metier, tiny_base, tmp_path):
    folder = make_project(tmp_path / "colours", tiny_base)
    models = folder / "models"
    shutil.copytree(tiny_base, models / "own")
    shutil.copytree(tiny_base, models / "liar")
    write_config(models / "liar", num_hidden_layers=8)
    shutil.copytree(tiny_base, models / "forbidden")
    (models / "forbidden" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    shutil.copytree(tiny_base, models / "bare")
    (models / "bare" / "model.safetensors").unlink()
    result = metier("bases", *QUICK, "--json", folder=folder)
    assert result.code == 0
    found = by_name(result)
    assert set(found) == {str(tiny_base), "./models/own", "./models/liar", "./models/forbidden", "./models/bare",
                          "metier-tiny"}  # fmt: skip
    assert "the files hold" in found["./models/liar"]["why_not"]
    assert "forbids commercial use" in found["./models/forbidden"]["why_not"]
    assert "could be better: it was not asked" in found["./models/bare"]["why_not"]
    assert [way["method"] for way in found["./models/bare"]["training"]] == [
        "full", "LoRA", "QLoRA (int8)", "QLoRA (nf4)",
    ]  # fmt: skip
    assert all(way["fits"] and way["memory_bytes"] > 1e6 for way in found["./models/own"]["training"])
    assert found["./models/own"]["zero_shot"]["bits_per_byte"] > 0
    assert result.json["chosen"] in {name for name, base in found.items() if base["zero_shot"] is not None}
    kept = json.loads((folder / ".metier" / "bases" / "bases.json").read_text())
    assert kept["chosen"] == result.json["chosen"]
    html = (folder / ".metier" / "bases" / "report.html").read_text()
    assert "What its licence asks" in html
    assert not (folder / ".metier" / "test-openings.jsonl").exists()


def test_only_the_names_given_and_what_the_settings_change(metier, tiny_base, tmp_path):
    folder = make_project(tmp_path / "colours", tiny_base)
    shutil.copytree(tiny_base, tmp_path / "elsewhere" / "far")
    (tmp_path / "elsewhere" / "far" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    more = ("--advise.choosing.below", '["../elsewhere"]', "--advise.choosing.asked", "false")
    found = by_name(metier("bases", *QUICK, *more, "--json", folder=folder))
    far = found[str((tmp_path / "elsewhere" / "far").resolve())]
    assert "asked is false" in json.dumps(found["metier-tiny"]["not_measured"])
    assert "forbids" in far["why_not"]
    more = ("--advise.choosing.commercial", "false", "--advise.choosing.asked", "false")
    alone = by_name(metier("bases", "../elsewhere/far", *QUICK, *more, "--json", folder=folder))
    assert list(alone) == ["../elsewhere/far"]
    assert "forbids" not in alone["../elsewhere/far"]["why_not"]


def test_without_a_project_the_files_alone_are_looked_at(metier, tiny_base, tmp_path: Path):
    result = metier("bases", str(tiny_base), folder=tmp_path)
    assert result.code == 0
    assert "No base can be recommended" in result.out
    assert "there is no metier.yaml here" in " ".join(result.out.split())
    assert max(map(len, result.out.splitlines())) <= 100
