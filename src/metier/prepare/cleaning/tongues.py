"""Tells the languages of many texts at once, as py3langid tells them one by one, in a third of the time.

Its automaton walks over the bytes of all texts side by side, and one product scores them all. Sums in another order
differ in the last digits, so that whatever lies near a decision is asked of the library again.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from metier.core import extras
from metier.core.errors import SettingsError

EXTRA = "clean"
LEAST_CONFIDENCE = 0.5
_NEAR = 0.01
"""Confidences nearer than this to the least one are computed again; the sums differ by less than a thousandth of it."""


class _Model(NamedTuple):
    """The library's identifier, and its tables as arrays: where the automaton goes on, and what it finds there."""

    identifier: Any
    moves: np.ndarray
    bases: np.ndarray
    found: np.ndarray


def tongues(texts: Sequence[str], wanted: frozenset[str] = frozenset()) -> list[str]:
    """Return the ISO 639 code of each text, "" where no language has a confidence of a half.

    Raises:
        SettingsError: a wanted language is unknown.
        MissingExtraError: py3langid is not installed.
    """
    if not texts:
        return []
    model = opened(wanted)
    coded: list[bytes] = [model.identifier._encode(text) for text in texts]
    confidences = _confidences(model, coded)
    best = confidences.argmax(1)
    sure = confidences[np.arange(len(texts)), best]
    names = [str(model.identifier.nb_classes[column]) for column in best.tolist()]
    told = [name if value >= LEAST_CONFIDENCE else "" for name, value in zip(names, sure.tolist(), strict=True)]
    for place in np.flatnonzero(np.abs(sure - LEAST_CONFIDENCE) < _NEAR).tolist():
        name, confidence = model.identifier.classify(texts[place])
        told[place] = str(name) if confidence >= LEAST_CONFIDENCE else ""
    return told


def _confidences(model: _Model, texts: Sequence[bytes]) -> np.ndarray:
    """Return float32 [texts, languages], as `LanguageIdentifier._decide` computes them."""
    identifier = model.identifier
    rows, features = _visits(model, texts)
    known, features = np.unique(features, return_inverse=True)
    keys, counts = np.unique(rows * max(len(known), 1) + features, return_counts=True)
    rows, features = np.divmod(keys, max(len(known), 1))
    weights = np.log1p(counts.astype(np.float32))
    table = csr_matrix((weights, (rows, features)), shape=(len(texts), len(known)))
    scores = np.asarray(table @ identifier.nb_ptc[known].astype(np.float32)) + identifier.nb_pc
    scores[np.bincount(rows, minlength=len(texts)) == 0] = 0.0
    scores *= 1 / np.sqrt(np.maximum(np.array([len(text) for text in texts], np.float32), 1))[:, None]
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    for first, again in identifier._alias_pairs:
        shares[:, first] += shares[:, again]
        shares[:, again] = 0.0
    return shares


def _visits(model: _Model, texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Walk over all texts; return the text and the feature of every visit, int64 [visits] each."""
    lengths = np.array([len(text) for text in texts])
    order = np.argsort(-lengths, kind="stable")
    longest = int(lengths.max())
    letters = np.zeros((longest, len(texts)), np.int64)
    for column, place in enumerate(order.tolist()):
        letters[: lengths[place], column] = np.frombuffer(texts[place], np.uint8)
    states = np.zeros(len(texts), np.int64)
    reach = np.searchsorted(-lengths[order], -np.arange(1, longest + 1), side="right")  # texts that are so long
    columns, features = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for step, count in enumerate(reach.tolist()):
        states = model.moves[model.bases[states[:count]] + letters[step, :count]]
        found = model.found[states]
        hits = np.flatnonzero(found >= 0)
        columns.append(hits)
        features.append(found[hits])
    return order[np.concatenate(columns)], np.concatenate(features)


@cache
def opened(wanted: frozenset[str]) -> _Model:
    """Load the model (0.7 s, 100 MB) and leave out what it would mistake."""
    library = extras.load("py3langid.langid", EXTRA)
    identifier = library.LanguageIdentifier.from_model_file(library.MODEL_FILE, norm_probs=True)
    known = identifier.labels
    if unknown := wanted - set(known):
        raise SettingsError(f"prepare.clean.languages: {', '.join(sorted(unknown))} unknown", "ISO 639 codes")
    # three-letter codes are close relatives of larger languages, for which those would be mistaken
    identifier.set_languages(sorted({name for name in known if len(name) == 2} | wanted))
    return _Model(
        identifier, np.asarray(identifier.tk_nextmove), np.asarray(identifier._rowbase, np.int64),
        np.asarray(identifier.tk_output),
    )  # fmt: skip
