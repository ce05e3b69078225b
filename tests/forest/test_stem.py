"""A beginning that many calls share is read once: the same numbers as row by row, and no token of it again."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.core.types import Sequence
from metier.forest import score
from metier.forest.attend import packed
from metier.forest.descend import descend
from metier.forest.stem import Stem
from tests.forest.architectures import PACKABLE, VOCABULARY, build


def row(beginning: list[int], length: int, answer: int, seed: int) -> Sequence:
    own = np.random.default_rng(seed).integers(3, VOCABULARY, length + answer)
    ids = np.concatenate([beginning, own]).astype(np.int32)
    weights = np.zeros(len(ids), dtype=np.float32)
    weights[-answer:] = 1
    return Sequence(ids=ids, weights=weights, row_id=str(seed))


PROMPT = list(np.random.default_rng(9).integers(3, VOCABULARY, 40))


def computed(stem: Stem, calls: list[list[Sequence]], budget: int) -> list[int]:
    """Return how many tokens each call computes where trunks that were computed before are kept."""
    known, counts = [], []
    for rows in calls:
        work = stem.arrange(rows, budget)
        new = [trunk for trunk in work.trunks if not any(trunk is other for other in known)]
        known += new
        counts.append(sum(forest.tokens for _, forest in work.forests) + sum(trunk.forest.tokens for trunk in new))
    return counts


def test_what_all_calls_share_is_computed_once():
    """The first row alone is all beginning; the second call leaves what both share, which then serves for good."""
    calls = [[row(PROMPT, 5, 4, 0)], *([row(PROMPT, 5, 4, 2 * n), row(PROMPT, 6, 3, 2 * n + 1)] for n in range(1, 4))]
    assert computed(Stem(), calls, 1000) == [48, 40 + 8 + 8, 16, 16]


def test_another_beginning_takes_its_place():
    other = [token + 1 if token + 1 < VOCABULARY else 3 for token in PROMPT]
    calls = [[row(each, 5, 4, n), row(each, 5, 4, n + 50)] for n, each in enumerate([PROMPT, PROMPT, other, other])]
    assert computed(Stem(), calls, 1000) == [56, 16, 56, 16]


def test_rows_without_a_beginning_worth_keeping_are_arranged_as_ever():
    calls = [[row(PROMPT[:20], 5, 4, n), row(PROMPT[:20], 5, 4, n + 50)] for n in range(2)]
    stem = Stem()
    assert all(not stem.arrange(rows, 1000).trunks for rows in calls)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_labels_are_those_of_the_rows_alone(data):
    """Over calls of any rows, with labels right behind the prompt, in any budget and any order of beginnings."""
    model, stem = build(PACKABLE["llama"]), Stem()
    prompts = [PROMPT, PROMPT[:35], [*PROMPT[:33], 5, 6]]
    for _ in range(3):
        rows = [
            row(
                data.draw(st.sampled_from(prompts)), data.draw(st.integers(0, 4)), data.draw(st.integers(1, 4)),
                data.draw(st.integers(0, 9)),
            )
            for _ in range(data.draw(st.integers(1, 4)))
        ]  # fmt: skip
        work = stem.arrange(rows, data.draw(st.sampled_from([1, 10, 1000])))
        seen = {}
        with torch.no_grad(), packed(model):
            for indices, forest in descend(model, work):
                nats = score.losses(model, forest)
                seen |= {index: nats[forest.sequence == place] for place, index in enumerate(indices)}
        assert sorted(seen) == list(range(len(rows)))
        for index, each in enumerate(rows):
            ids = torch.from_numpy(each.ids.astype(np.int64))
            logp = torch.log_softmax(model(input_ids=ids[None], use_cache=False).logits[0], dim=-1)
            places = np.flatnonzero(each.weights)
            torch.testing.assert_close(seen[index], -logp[places - 1, ids[places]], rtol=1e-9, atol=1e-9)


def test_rows_without_labels_are_read_nowhere():
    silent = replace(row(PROMPT, 5, 4, 0), weights=np.zeros(49, dtype=np.float32))
    spoken = row(PROMPT, 5, 4, 1)
    assert computed(Stem(), [[silent, spoken], [silent, spoken, row(PROMPT, 5, 4, 2)]], 1) == [48, 40 + 8 + 8]
    assert not Stem().arrange([silent], 1000).forests


def test_a_row_that_ends_inside_the_beginning_takes_what_it_needs_along():
    """Kept is what all share, so a later, shorter row leaves less of it."""
    calls = [[row(PROMPT, 5, 4, 0), row(PROMPT, 5, 4, 1)], [row(PROMPT[:36], 0, 2, 2)], [row(PROMPT, 5, 4, 3)]]
    assert computed(Stem(), calls, 1000) == [56, 35 + 2, 13]
