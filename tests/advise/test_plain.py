import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from metier.advise import plain
from metier.advise.ways import NotMeasured, Tried
from metier.core.errors import DataError
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
    found = plain.on_space("TF-IDF", plain.lexical, (TEXTS, LABELS), ["my money", "a late parcel"], "label")
    assert answers_of(found, "nearest row") == ("refund", "delivery")
    assert answers_of(found, "logistic regression") == ("refund", "delivery")


def test_fields_of_flat_objects_are_predicted_one_by_one():
    answers = [json.dumps({"kind": label, "late": label == "delivery"}) for label in LABELS]
    found = plain.on_space("TF-IDF", plain.lexical, (TEXTS, answers), ["my money"], "json")
    assert json.loads(answers_of(found, "logistic regression")[0]) == {"kind": "refund", "late": False}


@pytest.mark.parametrize("answers", [["{}"] * 12, [json.dumps({"n": n}) for n in range(12)], ['{"a": 1}', "[]"] * 6])
def test_where_a_regression_makes_no_sense_it_is_not_measured(answers):
    found = plain.on_space("TF-IDF", plain.lexical, (TEXTS, answers), ["my money"], "json")
    assert isinstance(found[1], NotMeasured)
    assert "not labels" in found[1].why


def test_texts_without_a_word_do_not_break_it():
    found = plain.on_space("TF-IDF", plain.lexical, (["!", "?"], ["a", "b"]), ["…"], "label")
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
