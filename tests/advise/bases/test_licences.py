from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.advise.bases import licences
from metier.advise.bases.licences import named, of, recognised, table

APACHE = "Apache License\n   Version 2.0, January 2004\n"
NON_COMMERCIAL = "Creative Commons Attribution-NonCommercial 4.0 International Public License"


def card(folder: Path, **facts: str) -> Path:
    lines = "".join(f"{name}: {value}\n" for name, value in facts.items())
    (folder / "README.md").write_text(f"---\n{lines}---\n\n# A model\n")
    return folder


def test_the_table_is_whole():
    names = [name for entry in table() for name in entry.names]
    assert len(names) == len(set(names)), "one identifier, one licence"
    for entry in table():
        assert entry.clause, f"{entry.title}: no clause is named"
        assert entry.commercial in ("yes", "no", "limits")
        assert entry.commercial != "limits" or entry.limits, f"{entry.title}: which limits?"
        assert all(mark == mark.lower() for mark in entry.marks), "texts are compared in small letters"


@pytest.mark.parametrize(
    ("name", "commercial", "part"),
    [
        ("apache-2.0", "yes", "NOTICE"),
        ("llama3", "limits", "Built with Meta Llama 3"),
        ("llama3.1", "limits", "'Built with Llama'"),
        ("gemma", "limits", "prohibited use policy"),
        ("qwen-research", "no", "Built with Qwen"),
        ("CC-BY-NC-4.0", "no", "not allowed"),
    ],
)
def test_what_a_licence_asks(tmp_path, name, commercial, part):
    found = of(card(tmp_path, license="other", license_name=name))
    assert found.strictest == commercial
    assert found.licence is not None
    assert part in " ".join(text for _, text in found.licence.asks)


def test_outputs_of_llama_2_train_no_other_model_but_those_of_3_1_may():
    old, new = named("llama2"), named("llama3.1")
    assert old is not None
    assert new is not None
    assert "may improve another" in old.outputs
    assert "name that begins with 'Llama'" in new.outputs


def test_a_card_that_says_more_than_the_text_is_not_believed(tmp_path):
    card(tmp_path, license="apache-2.0")
    (tmp_path / "LICENSE").write_text(NON_COMMERCIAL)
    found = of(tmp_path)
    assert found.strictest == "no"
    assert found.name == "CC-BY-NC"
    assert "README.md says Apache-2.0" in found.doubts[0]


def test_what_is_made_of_a_base_keeps_its_licence(tmp_path):
    assert (
        "meta-llama/Llama-3.1-8B" in of(card(tmp_path, license="mit", base_model="meta-llama/Llama-3.1-8B")).doubts[0]
    )
    assert not of(card(tmp_path, license="llama3.1", base_model="meta-llama/Llama-3.1-8B")).doubts


def test_an_unknown_licence_is_not_known_rather_than_guessed(tmp_path):
    assert of(tmp_path).strictest == "not known"
    (tmp_path / "LICENSE").write_text("You may use this if you are kind.")
    found = of(card(tmp_path, license="other", license_name="kindness-1.0"))
    assert (found.licence, found.strictest, found.name) == (None, "not known", "kindness-1.0")
    assert "read it" in found.doubts[0]


def test_the_text_that_is_there_is_recognised(tmp_path):
    (tmp_path / "LICENSE.txt").write_text(APACHE)
    assert of(tmp_path).name == "Apache-2.0"
    both = recognised("Redistributions of source code must retain … Neither the name of …")
    assert both is not None
    assert both.title == "BSD-3-Clause"


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=200))
def test_any_card_can_be_read(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("card")
    (folder / "README.md").write_bytes(b"---\n" + content + b"\n---\n")
    (folder / "LICENSE").write_bytes(content)
    assert licences.of(folder).strictest in ("yes", "no", "limits", "not known")


def test_what_was_not_looked_up_is_said_to_be_so():
    read, remembered = named("llama3.1"), named("gemma")
    assert read is not None
    assert remembered is not None
    assert read.where == read.clause
    assert remembered.where.endswith("not checked against its text")
