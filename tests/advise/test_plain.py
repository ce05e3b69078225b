import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from metier.advise import plain
from metier.advise.classifier import classify
from metier.advise.ready import best_classifier
from metier.advise.ways import NotMeasured, Tried, judged
from metier.core.errors import DataError
from metier.core.types import LabelledRow
from tests.conftest import write_tokenizer

TEXTS = ["the parcel is late", "late again, the parcel", "money back please", "i want my money back"] * 3
LABELS = ["delivery", "delivery", "refund", "refund"] * 3


def answers_of(found: list, name: str) -> tuple[str, ...]:
    (entry,) = [entry for entry in found if entry.name.startswith(name)]
    assert isinstance(entry, Tried)
    return entry.outputs


def test_the_commonest_answer_is_said_to_everything():
    assert plain.majority(TEXTS, [*LABELS, "refund"], ["x", "y"]).outputs == ("refund", "refund")


def test_neighbours_and_regression_learn_from_training_rows():
    found = plain.on_space(
        "TF-IDF", plain.lexical, known=(TEXTS, LABELS), asked=["my money", "a late parcel"], kind="label"
    )
    assert answers_of(found, "nearest row") == ("refund", "delivery")
    assert answers_of(found, "logistic regression") == ("refund", "delivery")


def test_fields_of_flat_objects_are_predicted_one_by_one():
    answers = [json.dumps({"kind": label, "late": label == "delivery"}) for label in LABELS]
    found = plain.on_space("TF-IDF", plain.lexical, known=(TEXTS, answers), asked=["my money"], kind="json")
    assert json.loads(answers_of(found, "logistic regression")[0]) == {"kind": "refund", "late": False}


@pytest.mark.parametrize("answers", [["{}"] * 12, [json.dumps({"n": n}) for n in range(12)], ['{"a": 1}', "[]"] * 6])
def test_where_a_regression_makes_no_sense_it_is_not_measured(answers):
    found = plain.on_space("TF-IDF", plain.lexical, known=(TEXTS, answers), asked=["my money"], kind="json")
    assert isinstance(found[1], NotMeasured)
    assert "not labels" in found[1].why


def test_texts_without_a_word_do_not_break_it():
    found = plain.on_space("TF-IDF", plain.lexical, known=(["!", "?"], ["a", "b"]), asked=["…"], kind="label")
    assert answers_of(found, "nearest row") == ("a",)


def test_a_static_model_averages_the_rows_of_its_tokens(tmp_path):
    write_tokenizer(tmp_path)
    save_file({"embeddings": np.eye(268, dtype=np.int8)}, tmp_path / "model.safetensors")
    rows, asked = plain.embedded(tmp_path)(["aab", ""], ["aab"])
    assert np.allclose(np.linalg.norm(rows, axis=1), [1, 0])
    assert np.allclose(rows[0], asked[0])
    assert sorted(rows[0][rows[0] > 0]) == pytest.approx([1 / 5**0.5, 2 / 5**0.5])


def test_a_folder_that_is_no_static_model_is_named(tmp_path):
    with pytest.raises(DataError, match=r"advise\.embeddings: .*no tokenizer\.json"):
        plain.embedded(tmp_path)
    write_tokenizer(tmp_path)
    save_file({"bias": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="no table called"):
        plain.embedded(tmp_path)


def test_each_way_is_called_as_compare_calls_it():
    space = plain.lexical
    found = plain.on_space("x", space, known=(TEXTS, LABELS), asked=["my money"], kind="label", where="models/e")
    assert [way.opponent for way in found] == ["classifier:nearest:models/e", "classifier:logistic:models/e"]
    (near, _) = plain.on_space("x", space, known=(TEXTS, LABELS), asked=["my money"], kind="label")
    assert near.opponent == "classifier:nearest"
    assert classify("nearest", rows(TEXTS, LABELS), rows(["my money"], ["?"]), Path()) == near.outputs


def test_the_best_way_without_a_model_is_an_opponent():
    scores = {"classifier:nearest": [1.0, 0, 0, 0], "classifier:logistic": [1.0, 1, 0, 0], None: [1.0, 1, 1, 1]}
    ways = [
        judged(tried("way", name), np.array(right), 1.0, groups=[None] * 4, confidence=0.95)
        for name, right in scores.items()
    ]
    assert best_classifier(ways) == "classifier:logistic"
    assert best_classifier(ways[2:]) is None


def tried(name: str, opponent: str | None) -> Tried:
    return Tried(name=name, family="plain", effort=0, outputs=("x",) * 4, opponent=opponent)


def rows(texts: list[str], labels: list[str]) -> list[LabelledRow]:
    pairs = enumerate(zip(texts, labels, strict=True))
    return [LabelledRow(id=str(n), source=f"f:{n}", text=text, label=label) for n, (text, label) in pairs]
