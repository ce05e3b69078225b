"""The cache of beginnings: what it holds is what was kept, within its memory, the least recently used gone first."""

import torch
from hypothesis import given
from hypothesis import strategies as some

from metier.engine.prefix import PrefixCache

MOST = 3


def block(number: int) -> torch.Tensor:
    return torch.full((2, 2, 1, 4, 2), float(number))


@given(some.lists(some.tuples(some.booleans(), some.integers(0, 6)), max_size=40))
def test_it_holds_the_last_used_as_they_were(steps: list[tuple[bool, int]]) -> None:
    cache, expected = PrefixCache(MOST * block(0).nbytes + 5), []
    for keeps, number in steps:
        name = b"%d" % number
        found = cache.find([name])
        assert [float(each.flatten()[0]) for each in found] == ([number] if number in expected else [])
        if found:
            assert torch.equal(found[0], block(number))
        if keeps and not found:
            cache.keep(name, block(number))
        if keeps or found:
            expected = [*(each for each in expected if each != number), number][-MOST:]
        assert cache.size == len(expected) * block(0).nbytes
        assert all((b"%d" % each in cache) == (each in expected) for each in range(7))


def test_a_cache_without_room_for_a_block_keeps_none() -> None:
    cache = PrefixCache(block(0).nbytes - 1)
    cache.keep(b"a", block(1))
    assert cache.size == 0
    assert cache.find([b"a"]) == []


def test_what_is_kept_does_not_change_with_where_it_came_from() -> None:
    cache, source = PrefixCache(1 << 20), block(1)
    cache.keep(b"a", source)
    source.zero_()
    assert torch.equal(cache.find([b"a"])[0], block(1))
