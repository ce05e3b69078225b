"""A token-classification model beside the rules: a folder of one's own, nothing downloaded."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

from metier.core.errors import ModelError
from metier.prepare.protect.settings import ProtectSettings
from metier.prepare.protect.stage import open_detector


@pytest.fixture
def model(tmp_path):
    """Return the folder of a tiny model that takes the word "zorblax" for a person and knows no other."""
    words = ["[PAD]", "[UNK]", "zorblax", "came", "today"]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=0, num_attention_heads=1, intermediate_size=8,
        id2label={0: "O", 1: "B-PER"}, label2id={"O": 0, "B-PER": 1},
    )  # fmt: skip
    network = BertForTokenClassification(config)
    with torch.no_grad():
        embeddings = network.bert.embeddings
        for table in (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings):
            table.weight.zero_()
        embeddings.word_embeddings.weight[:, 0], embeddings.word_embeddings.weight[2, 1] = 1.0, 5.0
        network.classifier.weight.zero_()
        network.classifier.weight[0, 0] = network.classifier.weight[1, 1] = 1.0
    network.save_pretrained(tmp_path)
    return tmp_path


def test_the_model_finds_what_the_rules_do_not(model):
    text = "zorblax came today"
    assert list(open_detector(ProtectSettings(), model.parent)(text)) == []
    [span] = open_detector(ProtectSettings(model=model.name), model.parent)(text)
    assert span == (0, 7, "person")


def test_a_kind_that_is_not_wanted_is_left_out(model):
    settings = ProtectSettings(model=model.name, entities=("email",))
    assert list(open_detector(settings, model.parent)("zorblax came today")) == []


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        open_detector(ProtectSettings(model="."), tmp_path)
