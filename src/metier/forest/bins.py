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


def bins_of_kin(lengths: Many[int], common: Many[int], inner: Many[int], budget: int) -> list[list[int]]:
    """Distribute the items of a tree over bins of at most `budget` tokens, each to where it adds fewest; deterministic.

    Items stand in the tree's depth-first order, so an item has most in common with the last one of a bin before it, and
    what two items have in common is the least that neighbours between them have.

    Args:
        lengths: tokens of each item alone. An item longer than the budget gets a bin of its own.
        common: tokens that each item begins with like the end of the item before it; the first entry does not count.
        inner: the least that neighbours inside an item have in common.
        budget: most tokens in a bin.

    Returns:
        For each bin the indices of its items, in ascending order.
    """
    contents: list[list[int]] = []
    room: list[int] = []
    near: list[int] = []  # tokens that the next item has in common with each bin
    for index, length in enumerate(lengths):
        near = [min(tokens, common[index]) for tokens in near]
        fitting = [number for number, tokens in enumerate(near) if length - tokens <= room[number]]
        place = max(fitting, key=lambda number: (near[number], -number), default=len(room))
        if place == len(room):
            contents.append([])
            room.append(budget)
            near.append(0)
        contents[place].append(index)
        room[place] -= length - near[place]
        near = [min(tokens, inner[index]) for tokens in near]
        near[place] = length
    return contents
