"""Which prompts are decoded together: those of similar length, within a budget of tokens; imports no torch."""

from collections.abc import Sequence


def plan(lengths: Sequence[int], *, new_tokens: int, budget: int, equal_only: bool = False) -> list[list[int]]:
    """Group prompts into batches, longest first; a function of the lengths alone, so the same every time.

    A batch of b prompts costs b · (its longest prompt + `new_tokens`) places of cache. A prompt that exceeds the
    budget by itself gets a batch of its own.

    Args:
        lengths: tokens of each prompt.
        new_tokens: most tokens that each answer may take.
        budget: most places in one batch.
        equal_only: put only prompts of the same length together, for models that cannot ignore padding.

    Returns:
        For each batch the indices of its prompts, every index once.
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        full = not batches or (len(batches[-1]) + 1) * (longest + new_tokens) > budget
        if full or (equal_only and lengths[index] != longest):
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return batches
