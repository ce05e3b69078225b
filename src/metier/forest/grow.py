"""Grow a forest: sequences that begin alike share their beginning, so that every token in its context stands once.

Shapes: S = sequences of a forest, M = their labels.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np
import torch

from metier.core.types import Sequence
from metier.forest.forest import Forest, Trunk, label_names, label_places
from metier.forest.pieces import Link, Node, attention_pieces, label_pieces
from metier.forest.trie import trie


@dataclass(frozen=True, slots=True, kw_only=True)
class Above:
    """What stands before a sequence in a trunk: `depth` tokens, the last of them in node `node` (-1: nothing)."""

    depth: int = 0
    node: int = -1


def needed(sequence: Sequence) -> int:
    """Return how many tokens a model must read: up to the last place that predicts a label, without labels none."""
    labels = np.flatnonzero(sequence.weights)
    return int(labels[-1]) if len(labels) else 0


def grow(
    sequences: Many[Sequence],
    *,
    share: bool = True,
    above: Many[Above] | None = None,
    trunk: Trunk | None = None,
) -> Forest:
    """Merge the beginnings that sequences have in common.

    Args:
        sequences: S of them; each with at least two tokens, or without labels. Duplicates are computed once.
        share: False lays them side by side: every sequence a tree of its own, longest first.
        above: for each sequence what of it stands in `trunk` already. None: nothing.
        trunk: where the keys and values of those tokens are kept.

    Returns:
        The forest. Its label-weighted sums are those of the sequences apart: nothing is dropped, nothing counted twice.
    """
    above = above or [Above()] * len(sequences)
    ids = [sequence.ids[top.depth : needed(sequence)] for sequence, top in zip(sequences, above, strict=True)]
    grown = trie(ids, [top.node for top in above], share=share)
    tokens, positions, owners, places = [], [], [], [np.empty(0, dtype=np.int64)] * len(sequences)
    for node in grown.nodes:
        depth = above[node.example].depth + node.depth
        tokens.append(ids[node.example][node.depth : node.depth + node.length])
        positions.append(np.arange(depth, depth + node.length))
        owners.append(np.full(node.length, node.example))
    for index, path in enumerate(grown.paths):
        spans = [np.arange(grown.nodes[number].start, grown.nodes[number].stop) for number in path]
        places[index] = np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)
    labels = _labels(sequences, places, above, trunk)
    nodes = tuple(Node(start=n.start, length=n.length, end=n.end, depth=n.depth) for n in grown.nodes)
    links = links_of(grown.spans, [top.node for top in above], trunk) if trunk is not None else ()
    position = joined(positions)
    return Forest(
        ids=torch.from_numpy(joined(tokens))[None],
        positions=torch.from_numpy(position)[None],
        nodes=nodes,
        source=torch.from_numpy(labels.source),
        row=torch.from_numpy(labels.row),
        token=torch.from_numpy(labels.token),
        weight=torch.from_numpy(labels.weight),
        sequence=torch.from_numpy(labels.sequence),
        own=torch.from_numpy(labels.own),
        told=torch.from_numpy(labels.told),
        held=torch.from_numpy(labels.held),
        last=torch.from_numpy(np.array([place[-1] if len(place) else -1 for place in places], dtype=np.int64)),
        lengths=tuple(len(sequence) for sequence in sequences),
        reach=int(position.max()) + 1 if len(position) else 0,
        pieces=attention_pieces(nodes, links),
        label_pieces=label_pieces(nodes, links, labels.source),
        owner=torch.from_numpy(joined(owners)),
        trunk=trunk,
        sequences=tuple(sequences),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    """The labels of a forest, as `Forest` names them."""

    source: np.ndarray
    row: np.ndarray
    token: np.ndarray
    weight: np.ndarray
    sequence: np.ndarray
    own: np.ndarray
    told: np.ndarray
    held: np.ndarray


def _labels(sequences: Many[Sequence], places: list[np.ndarray], above: Many[Above], trunk: Trunk | None) -> _Labels:
    """Say for each label where it is predicted: at one of `places` of its sequence, or in the trunk."""
    found = [np.flatnonzero(sequence.weights) for sequence in sequences]
    token = joined([sequence.ids[at] for sequence, at in zip(sequences, found, strict=True)])
    within = np.concatenate([at <= top.depth for at, top in zip(found, above, strict=True)] or [np.empty(0, bool)])
    whole = [
        np.concatenate([trunk.places(top.node), mine]) if trunk is not None else mine
        for mine, top in zip(places, above, strict=True)
    ]
    at_place = joined([mine[at - 1] for mine, at in zip(whole, found, strict=True)])
    own = np.flatnonzero(~within)
    source, row_here = np.unique(at_place[own], return_inverse=True)
    row, told = np.empty_like(at_place), np.empty_like(at_place)
    row[own], told[own] = row_here.reshape(-1), np.arange(len(own))
    held = np.empty(0, dtype=np.int64)
    if trunk is not None and within.any():
        names = label_names(at_place[within], token[within])
        told[within] = len(own) + np.searchsorted(trunk.labels, names)
        places_above = np.unique(label_places(trunk.labels))
        held, row_above = np.unique(np.searchsorted(places_above, at_place[within]), return_inverse=True)
        row[within] = len(source) + row_above.reshape(-1)
    return _Labels(
        source=source,
        row=row,
        token=token,
        weight=np.concatenate([s.weights[at] for s, at in zip(sequences, found, strict=True)]).astype(np.float32),
        sequence=joined([np.full(len(at), index) for index, at in enumerate(found)]),
        own=own,
        told=told,
        held=held,
    )


def joined(parts: list[np.ndarray]) -> np.ndarray:
    """Return integer arrays in a row, int64."""
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)


def links_of(spans: Many[tuple[int, int]], tops: Many[int], trunk: Trunk) -> tuple[Link, ...]:
    """Say for every node of the trunk which places of this forest stand beneath it.

    They are neighbours, because sequences are sorted by where they leave the trunk, and the trunk is depth first.
    """
    beneath: dict[int, tuple[int, int]] = {}
    for (start, stop), top in zip(spans, tops, strict=True):
        number = top if stop > start else -1
        while number >= 0:
            low, high = beneath.get(number, (start, stop))
            beneath[number] = (min(low, start), max(high, stop))
            number = trunk.parents[number]
    nodes = trunk.nodes
    return tuple(
        Link(start=low, stop=high, key_start=nodes[number].start, key_stop=nodes[number].stop)
        for number, (low, high) in sorted(beneath.items())
        if high > low
    )
