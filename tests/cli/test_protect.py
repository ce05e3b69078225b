"""`metier protect`: a key, a look through a file, and the way back."""

import json

import pytest

from metier.prepare.protect.vault import ENVIRONMENT
from tests.prepare.protect.samples import KEY


def test_it_counts_without_showing_and_answers_no(metier, tmp_path):
    (tmp_path / "a.txt").write_text("nothing here\nwrite to maria@corp.com\n", encoding="utf-8")
    result = metier("protect", str(tmp_path / "a.txt"))
    assert result.code == 1
    assert "a.txt:2" in result.out
    assert "maria" not in result.out
    (tmp_path / "b.txt").write_text("nothing here\n", encoding="utf-8")
    assert metier("protect", str(tmp_path / "b.txt")).code == 0
    told = json.loads(metier("protect", str(tmp_path / "a.txt"), "--json").out)
    assert told["found"]["email"] == {"values": 1, "rows": 1, "first": ["a.txt:2"]}


def test_it_makes_a_key_and_says_what_is_missing(metier, tmp_path):
    assert metier("protect", "--new-key", str(tmp_path / "key")).code == 0
    assert len((tmp_path / "key").read_text(encoding="utf-8").strip()) == 44
    assert metier("protect", "--new-key", str(tmp_path / "key")).code == 2
    result = metier("protect")
    assert result.code == 2
    assert "FILE" in result.err
    assert metier("protect", str(tmp_path / "absent")).code == 2


def test_a_file_with_pseudonyms_is_led_back(metier, tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, KEY)
    (tmp_path / "metier.yaml").write_text(
        "base: metier-tiny\ndata: t.jsonl\nprepare: {protect: pseudonymise}\n", encoding="utf-8"
    )
    line = '{{"text": "my name is Maria Lopez, parcel {}, maria@corp.com", "label": "a"}}\n'
    (tmp_path / "t.jsonl").write_text("".join(line.format(place) for place in range(20)), encoding="utf-8")
    assert metier("prepare", "--project", str(tmp_path)).code == 0
    [snapshot] = (tmp_path / ".metier" / "snapshots").iterdir()
    result = metier("protect", str(snapshot / "train.jsonl"), "--reveal", "--project", str(tmp_path))
    assert result.code == 0
    assert "my name is Maria Lopez, parcel" in result.out
    assert "maria@corp.com" in result.out
    monkeypatch.setenv(ENVIRONMENT, KEY.replace("Y", "Z"))
    refused = metier("protect", str(snapshot / "train.jsonl"), "--reveal", "--project", str(tmp_path))
    assert refused.code == 2
    assert "no map of this key" in refused.err


@pytest.mark.parametrize("option", ["--prepare.protect.entities", "--prepare.protect.allow"])
def test_settings_can_be_laid_over(metier, tmp_path, option):
    (tmp_path / "metier.yaml").write_text("base: metier-tiny\ndata: t.jsonl\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("maria@corp.com\n", encoding="utf-8")
    value = "[card]" if option.endswith("entities") else "[maria@corp.com]"
    assert metier("protect", str(tmp_path / "a.txt"), "--project", str(tmp_path), option, value).code == 0
