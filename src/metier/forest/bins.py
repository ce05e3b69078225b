"""Distribute items over bins of a token budget."""

from collections.abc import Sequence as Many


def bins(lengths: Many[int], budget: int) -> list[list[int]]:
    """Distribute items over bins of at most `budget` tokens, first-fit decreasing; deterministic.

    Args:
        lengths: tokens of each item. An item longer than the budget gets a bin of its own.
        budget: most tokens in a bin.

    Returns:
        For each bin the indices of its items, in ascending order.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    contents: list[list[int]] = []
    room: list[int] = []
    for index in order:
        place = next((number for number, left in enumerate(room) if left >= lengths[index]), None)
        if place is None:
            contents.append([index])
            room.append(budget - lengths[index])
        else:
            contents[place].append(index)
            room[place] -= lengths[index]
    return [sorted(content) for content in contents]
