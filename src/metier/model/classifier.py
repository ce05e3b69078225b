"""A local text classifier: any sequence classification of transformers, safetensors only, no code from its folder.

Shapes: n = texts, K = labels, T = tokens.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

from metier.core.errors import ModelError
from metier.model.configuration import allowed
from metier.model.find import read_json
from metier.model.quiet import LIBRARY_FAULTS, quiet
from metier.text.tokenizer import engine_of

_AT_ONCE = 16
_MOST_TOKENS = 512


class Classifier:
    """Gives texts the probability of each label.

    Args:
        folder: with config.json, tokenizer.json and model.safetensors.

    Raises:
        ModelError: it holds no such model, or a weight is missing.
    """

    def __init__(self, folder: Path) -> None:
        raw = read_json(folder / "config.json")
        kind = raw.get("model_type")
        if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
            raise ModelError(f"{folder}/config.json: model_type {kind!r}", "an architecture that transformers knows")
        named = raw.get("id2label") or {}
        self.labels = tuple(str(named[key]) for key in sorted(named, key=int))
        if len(self.labels) < 2:
            raise ModelError(f"{folder}/config.json: {len(self.labels)} labels in id2label", "at least two")
        self._alone = raw.get("problem_type") == "multi_label_classification"
        self._tokenizer = engine_of(folder / "tokenizer.json")
        self._tokenizer.no_padding()
        self._model = _loaded(folder, raw, CONFIG_MAPPING[kind], len(self.labels))
        context = raw.get("max_position_embeddings") or _MOST_TOKENS
        self._tokenizer.enable_truncation(min(_MOST_TOKENS, int(context) - 2))

    @torch.inference_mode()
    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return float64 [n, K]: shares of one where labels exclude each other, else of each label alone."""
        found = np.zeros((len(texts), len(self.labels)))
        encoded = [self._tokenizer.encode(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda place: len(encoded[place].ids))
        device = next(self._model.parameters()).device
        for start in range(0, len(order), _AT_ONCE):
            places = order[start : start + _AT_ONCE]
            width = max(1, *(len(encoded[place].ids) for place in places))
            ids = torch.zeros(len(places), width, dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for row, place in enumerate(places):
                length = len(encoded[place].ids)
                ids[row, :length] = torch.tensor(encoded[place].ids)
                mask[row, :length] = 1
            logits = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits.double()
            shares = logits.sigmoid() if self._alone else logits.softmax(dim=-1)
            found[places] = shares.cpu().numpy()
        return found


def _loaded(folder: Path, raw: dict, kind: type, labels: int) -> torch.nn.Module:
    with quiet():
        try:
            config = kind(**allowed(raw, kind))
            config.num_labels = labels
            model, facts = AutoModelForSequenceClassification.from_pretrained(
                str(folder), config=config, dtype=torch.float32, use_safetensors=True, trust_remote_code=False,
                local_files_only=True, output_loading_info=True,
            )  # fmt: skip
        except LIBRARY_FAULTS as error:
            raise ModelError(f"{folder}: no classifier can be loaded ({error})", "a sequence classification") from error
    if facts["missing_keys"]:
        missing = sorted(facts["missing_keys"])
        raise ModelError(f"{folder}: {len(missing)} weights are missing (first: {missing[0]})", "a trained classifier")
    return model.eval()
