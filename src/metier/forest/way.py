"""Find out how a model can be computed, by trying it: as a forest, with labels only on top, with a plain head."""

from collections.abc import Callable
from collections.abc import Sequence as Many
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch

from metier.core.errors import ModelError
from metier.core.types import Reasoned, Sequence
from metier.forest import score
from metier.forest.arrange import Arrangement, arrange, with_long_apart
from metier.forest.attend import as_it_is, inner_model, packed
from metier.forest.descend import descend
from metier.forest.forest import Forest
from metier.forest.grow import needed
from metier.forest.unheard import steady, unheard
from metier.model.linear import is_plain
from metier.model.quiet import LIBRARY_FAULTS

TOLERANCE = 1e-3
"""Nats by which a label in a forest may differ from the same label alone; rounding is a hundred times smaller.

Where there are no words, the share of its size by which a state may."""

_PROBE_BUDGET = 24
_MOST_SAID = 300

_LARGE_LOGIT = 1000.0
"""Far beyond where any model caps its logits."""

Reader = Callable[[torch.nn.Module, Forest], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a model is computed.

    `packed`: many sequences in one call, kept apart, beginnings shared; else each in a call of its own.
    `labels_only`: the last layer computes queries only where labels are predicted. `plain_head`: logits are one matrix
    product, so that head and cross-entropy are computed as one. `error`: largest difference in nats that the probe saw.
    `steady`: tokens of the longest sequence of a call beyond which it changes how the others are computed; None: never.
    `reason`: why not packed, where it is not that difference.
    """

    packed: bool = True
    labels_only: bool = True
    plain_head: bool = True
    error: float = 0.0
    steady: int | None = None
    reason: str = ""

    def attention(self, model: torch.nn.Module) -> AbstractContextManager[None]:
        """Return the context that the model computes in."""
        return packed(model, labels_only=self.labels_only) if self.packed else as_it_is(model)

    def losses(self, model: torch.nn.Module, forest: Forest) -> torch.Tensor:
        """Return -log p in nats, [M], of each label. Call inside `attention(model)`."""
        if not self.packed:
            return score.alone(model, forest)
        return score.head_losses(model, forest) if self.plain_head else score.losses(model, forest)

    def judged(self, model: torch.nn.Module, forest: Forest) -> score.Judged:
        """Return -log p of each label, and where it is the likeliest token. Call inside `attention(model)`."""
        if self.packed and self.plain_head:
            return score.head_judged(model, forest)
        return score.judged(self.logits(model, forest), forest)

    def logits(self, model: torch.nn.Module, forest: Forest) -> torch.Tensor:
        """Return the logits [M, V] that predict each label. Call inside `attention(model)`."""
        return score.logits(model, forest) if self.packed else score.logits_alone(model, forest)

    def states(self, model: torch.nn.Module, forest: Forest) -> torch.Tensor:
        """Return the decoder's last states [M, E] where each label is predicted. Call inside `attention(model)`."""
        return score.states(model, forest) if self.packed else score.states_alone(model, forest)

    def arrange(self, sequences: list[Sequence], budget: int, *, share: bool = True, together: int = 1) -> Arrangement:
        """Split sequences into forests of at most `budget` tokens; see `arrange.arrange`."""
        share = share and self.packed
        if self.steady is None or self.is_steady(sequences):
            return arrange(sequences, budget, share=share, together=together)
        return with_long_apart(sequences, budget, self.steady, share=share, together=together)

    def is_steady(self, sequences: Many[Sequence]) -> bool:
        """Tell whether sequences are computed alike, whatever they stand beside in a call."""
        return self.steady is None or all(needed(sequence) <= self.steady for sequence in sequences)

    def reasoned(self) -> Reasoned:
        """Say how the model is computed, and why."""
        reason = self.reason or f"in a forest and alone differ by {self.error:.1e} nats on this base"
        if not self.packed:
            return Reasoned(name="forest", value="one by one", reason=reason)
        value = "shared beginnings" + (", labels only on top" if self.labels_only else "")
        return Reasoned(name="forest", value=value, reason=reason)


ALONE = Way(packed=False, labels_only=False, plain_head=False)


@torch.no_grad()
def probe(model: torch.nn.Module) -> Way:
    """Try a model on a few short random sequences, with and without a shared beginning, and take the fastest exact way.

    A model whose layers carry state from token to token, or that ignores restarting positions, leaks from one sequence
    into the next; it shows here before it can show in training. A model that writes nothing is compared by its states.

    Raises:
        ModelError: the library cannot compute this base by itself.
    """
    was_training = model.training
    model.eval()
    sequences = _sequences(inner_model(model).config.get_text_config(decoder=True).vocab_size)
    writes = score.writes(model)
    alone, read = (score.alone, score.losses) if writes else (_sized(score.states_alone), _sized(score.states))
    expected = _plainly(model, alone, sequences)
    way = Way()
    try:
        error = _error(model, way, sequences, expected, read)
        if not error <= TOLERANCE:
            way = replace(way, labels_only=False)
            error = _error(model, way, sequences, expected, read)
        way = replace(way, error=error) if error <= TOLERANCE else replace(ALONE, error=error)
        if way.packed and (reason := unheard(model)):
            way = replace(ALONE, error=error, reason=reason)
        if way.packed and writes:
            way = replace(way, plain_head=_head_is_plain(model, way, sequences, expected))
    finally:
        model.train(was_training)
    return replace(way, steady=steady(model))


def _plainly(model: torch.nn.Module, read: Reader, sequences: list[Sequence]) -> list[torch.Tensor]:
    """Return the losses of each sequence in a call of its own, as the library computes it."""
    try:
        return _by_row(model, read, arrange(sequences, 1 << 20, share=False))
    except torch.OutOfMemoryError:
        raise
    except LIBRARY_FAULTS as error:
        said = " ".join(str(error).split())[:_MOST_SAID]
        raise ModelError(
            f"{type(inner_model(model)).__name__}: plain transformers cannot compute this base "
            f"({type(error).__name__}: {said})",
            "a configuration that its own class can run",
            "mend config.json, or take another base: the same call fails without metier",
        ) from error


def _sized(read: Reader) -> Reader:
    """Let states be read as shares of their largest number, so that one tolerance fits all models."""

    def sized(model: torch.nn.Module, forest: Forest) -> torch.Tensor:
        found = read(model, forest)
        return found / found.abs().amax(dim=-1, keepdim=True)

    return sized


def _sequences(vocabulary: int) -> list[Sequence]:
    """Two that share a long beginning (one with labels in it), one that repeats another, and two on their own."""
    random = np.random.default_rng(0)
    shared = random.integers(0, vocabulary, 20)
    tails = [random.integers(0, vocabulary, length) for length in (7, 5, 9, 6)]
    ids = [np.concatenate([shared, tails[0]]), np.concatenate([shared, tails[1]]), tails[2], tails[3], tails[2]]
    made = []
    for number, tokens in enumerate(ids):
        weights = np.ones(len(tokens), dtype=np.float32)
        weights[: 18 if number == 0 else len(tokens) - 3] = 0
        made.append(Sequence(ids=tokens.astype(np.int32), weights=weights, row_id=str(number)))
    return made


def _by_row(model: torch.nn.Module, read: Reader, arrangement: Arrangement) -> list[torch.Tensor]:
    """Return the losses of each sequence, in the order of its labels."""
    found: dict[int, torch.Tensor] = {}
    for indices, forest in descend(model, arrangement):
        values = read(model, forest)
        for place, index in enumerate(indices):
            found[index] = values[forest.sequence == place]
    return [found[index] for index in sorted(found)]


def _error(
    model: torch.nn.Module, way: Way, sequences: list[Sequence], expected: list[torch.Tensor], read: Reader
) -> float:
    """Return the largest difference of the whole forest, and of one cut into a trunk and what hangs from it."""
    largest = 0.0
    try:
        with packed(model, labels_only=way.labels_only):
            for budget in (1 << 20, _PROBE_BUDGET):
                seen = _by_row(model, read, arrange(sequences, budget))
                largest = max(largest, *(_largest(a, b) for a, b in zip(seen, expected, strict=True)))
    except LIBRARY_FAULTS:
        return float("inf")
    return largest


def _largest(first: torch.Tensor, second: torch.Tensor) -> float:
    return (first - second).abs().max().item() if first.shape == second.shape else float("inf")


def _head_is_plain(model: torch.nn.Module, way: Way, sequences: list[Sequence], expected: list[torch.Tensor]) -> bool:
    head = inner_model(model).get_output_embeddings()
    if not is_plain(head):
        return False
    with packed(model, labels_only=way.labels_only):
        seen = [_by_row(model, score.head_losses, arrange(sequences, budget)) for budget in (1 << 20, _PROBE_BUDGET)]
        alike = all(_largest(a, b) <= TOLERANCE for found in seen for a, b in zip(found, expected, strict=True))
        ((_, forest),) = arrange(sequences, 1 << 20).forests
        return alike and _is_straight(model, head, forest.to(head.weight.device))


def _is_straight(model: torch.nn.Module, head: torch.nn.Linear, forest: Forest) -> bool:
    """Tell whether logits are what the head says where they are large, too: a cap bends small ones by nothing."""
    states = score.hidden(model, forest)
    larger = _LARGE_LOGIT / head(states).abs().amax().clamp_min(1e-9)
    with score.before_head(model, lambda _, args: (args[0] * larger,)):
        said = score.logits(model, forest)
    product = head(states * larger)[forest.row]
    return bool((said - product).abs().amax() <= TOLERANCE * product.abs().amax())
