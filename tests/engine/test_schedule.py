from hypothesis import given
from hypothesis import strategies as st

from metier.engine.schedule import plan


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 20), st.integers(1, 400), st.booleans())
def test_every_prompt_is_planned_once_and_within_the_budget(
    lengths: list[int], new_tokens: int, budget: int, equal_only: bool
) -> None:
    batches = plan(lengths, new_tokens=new_tokens, budget=budget, equal_only=equal_only)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or len(batch) * (longest + new_tokens) <= budget
        assert not equal_only or len({lengths[index] for index in batch}) == 1


def test_longer_prompts_come_first_and_similar_ones_together() -> None:
    assert plan([1, 9, 2, 8], new_tokens=1, budget=20) == [[1, 3], [2, 0]]


def test_equal_only_separates_what_the_budget_would_join() -> None:
    assert plan([3, 3, 2], new_tokens=1, budget=100) == [[0, 1, 2]]
    assert plan([3, 3, 2], new_tokens=1, budget=100, equal_only=True) == [[0, 1], [2]]
