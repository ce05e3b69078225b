"""Static embeddings: a text is the mean of its tokens' vectors; a table of numbers and no model; imports no torch."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from metier.core.errors import DataError
from metier.text.tokenizer import engine_of

FILES = ("tokenizer.json", "model.safetensors")
_MOST_CHARACTERS = 4000
"""Of a longer text the beginning is embedded: a mean over more words says less and less."""


class Embeddings:
    """Static embeddings of tokens; a text is the mean of its tokens, of length 1.

    Args:
        folder: with `tokenizer.json` and `model.safetensors`, as model2vec writes them.
        setting: which setting named it, for errors.

    Raises:
        DataError: the table is missing or not what it should be.
        ModelError: the tokenizer is.
    """

    def __init__(self, folder: Path, setting: str) -> None:
        for name in FILES:
            if not (folder / name).is_file():
                raise _unusable(setting, folder, f"no {name}")
        self._tokenizer = engine_of(folder / "tokenizer.json")
        try:
            tensors = load_file(folder / "model.safetensors")
        except (OSError, SafetensorError) as error:
            raise _unusable(setting, folder, str(error)) from error
        table = tensors.get("embeddings")
        if table is None or table.ndim != 2:
            raise _unusable(setting, folder, "no table called 'embeddings' in model.safetensors")
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._table = table.astype(np.float32)
        if "weights" in tensors:
            self._table *= tensors["weights"].astype(np.float32).reshape(-1, 1)

    def of(self, texts: list[str]) -> np.ndarray:
        """Return float32 [texts, dimensions], each of length 1 (0 for a text without a known token)."""
        encodings = self._tokenizer.encode_batch_fast(
            [text[:_MOST_CHARACTERS] for text in texts], add_special_tokens=False
        )
        ids = [np.array(encoding.ids, np.int64) for encoding in encodings]
        lengths = np.array([len(entry) for entry in ids])
        found = np.zeros((len(texts), self._table.shape[1]), np.float32)
        filled = np.flatnonzero(lengths)
        if len(filled):
            vectors = self._table[np.concatenate(ids)]
            starts = np.cumsum(lengths[filled]) - lengths[filled]
            found[filled] = np.add.reduceat(vectors, starts, axis=0)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def _unusable(setting: str, folder: Path, why: str) -> DataError:
    wanted = "a folder with model.safetensors and tokenizer.json of static embeddings (model2vec)"
    return DataError(f"{setting}: {folder}: {why}", wanted)
