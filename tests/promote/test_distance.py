"""The figures of a hop, against sums written out by hand."""

import math

import numpy as np
import pytest
import torch

from metier.core.errors import ModelError
from metier.core.types import Sequence
from metier.promote import distance
from metier.promote.distance import measure
from metier.promote.reference import Reference


def reference(recorded: torch.Tensor) -> Reference:
    """Two rows with one and two labels."""
    sequences = tuple(
        Sequence(
            ids=np.zeros(labels + 1, np.int32),
            weights=np.array([0.0] + [1.0] * labels, np.float32),
            row_id=str(labels),
            source=f"rows.jsonl:{labels}",
        )
        for labels in (1, 2)
    )
    return Reference(sequences=sequences, prompt_ids=(None, None), stop_ids=(2,), recorded=recorded, offsets=(0, 1, 3))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What the model under test will answer, row by row; yielded out of order, as the forest may."""
    said: list[torch.Tensor] = []
    monkeypatch.setattr(distance, "label_answers", lambda model, rows: reversed(list(enumerate(said))))
    return said


def logs(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).log()


def test_kl_by_hand(answers: list[torch.Tensor]) -> None:
    known = reference(logs([0.5, 0.5], [0.9, 0.1], [0.5, 0.5]))
    answers += [logs([0.5, 0.5]), logs([0.9, 0.1], [0.25, 0.75])]
    found = measure(torch.nn.Identity(), known)
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert found.largest_kl == pytest.approx(expected, abs=1e-7)
    assert found.mean_kl == pytest.approx(expected / 3, abs=1e-7)
    assert found.greedy_agreement == pytest.approx(2 / 3)
    assert found.worst_source == "rows.jsonl:2"
    assert found.tokens == 3


def test_equal_answers_are_at_distance_zero(answers: list[torch.Tensor]) -> None:
    recorded = torch.log_softmax(torch.randn(3, 7, generator=torch.Generator().manual_seed(1)), -1)
    answers += [recorded[:1], recorded[1:]]
    found = measure(torch.nn.Identity(), reference(recorded))
    assert (found.largest_kl, found.mean_kl, found.greedy_agreement) == (0, 0, 1)


def test_a_certain_answer_is_compared_without_zero_times_infinity(answers: list[torch.Tensor]) -> None:
    certain = logs([1.0, 0.0])
    answers += [certain, logs([0.5, 0.5], [1.0, 0.0])]
    found = measure(torch.nn.Identity(), reference(torch.cat([certain] * 3)))
    assert found.largest_kl == pytest.approx(math.log(2))


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_what_is_not_a_number_is_infinitely_far(answers: list[torch.Tensor], bad: float) -> None:
    recorded = logs([0.5, 0.5], [0.5, 0.5], [0.5, 0.5])
    answers += [torch.tensor([[bad, bad]]), recorded[1:]]
    found = measure(torch.nn.Identity(), reference(recorded))
    assert found.largest_kl == math.inf
    assert found.mean_kl == math.inf
    assert found.worst_source == "rows.jsonl:1"


def test_another_vocabulary_is_refused(answers: list[torch.Tensor]) -> None:
    answers += [logs([0.2, 0.3, 0.5]), logs([0.2, 0.3, 0.5], [0.2, 0.3, 0.5])]
    with pytest.raises(ModelError, match=r"answers of shape \[2, 3\]"):
        measure(torch.nn.Identity(), reference(logs([0.5, 0.5], [0.5, 0.5], [0.5, 0.5])))
