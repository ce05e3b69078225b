"""Tiny static embeddings: words of one meaning point in one direction."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

MEANINGS = (
    ("[UNK]",), ("cancel", "revoke"), ("the",), ("order", "purchase"), ("weather", "sunshine"), ("is", "outside"),
    ("lovely", "today"), ("pepper",), ("one",), ("two",), ("three",), ("four",),
)  # fmt: skip


@pytest.fixture
def embeddings(workshop) -> str:
    words = {word: number for number, word in enumerate(word for group in MEANINGS for word in group)}
    table = np.zeros((len(words), len(MEANINGS)), np.float32)
    for place, group in enumerate(MEANINGS):
        for word in group:
            table[words[word], place] = 1
    table[words["pepper"]] *= 1.2
    folder = workshop.folder / "embeddings"
    folder.mkdir()
    tokenizer = Tokenizer(WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"embeddings": table}, folder / "model.safetensors")
    return "embeddings"
