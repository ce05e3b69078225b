"""The heap that the planner goes through: where blocks lie, what is kept, and that holes cost what they cost."""

from hypothesis import given
from hypothesis import strategies as st

from metier.train.planning.heap import Heap

MIB = 1 << 20


@given(st.lists(st.tuples(st.integers(1, 40 * MIB), st.booleans()), max_size=60))
def test_what_is_kept_is_never_less_than_what_is_held_and_blocks_never_overlap(requests):
    heap, held = Heap(), {}
    for size, also_free in requests:
        address = heap.allocate(size)
        for other, length in held.items():
            assert address < 0 or other < 0 or address + size <= other or other + length <= address
        held[address] = size
        assert heap.resident >= sum(held.values())
        assert heap.peak >= heap.resident
        if also_free:
            oldest = next(iter(held))
            heap.free(oldest)
            del held[oldest]
    for address in held:
        heap.free(address)
    assert heap.resident <= 64 * MIB


def test_large_blocks_are_given_back_at_once():
    heap = Heap()
    heap.free(heap.allocate(100 * MIB))
    assert heap.resident == 0
    assert heap.peak >= 100 * MIB


def test_a_hole_is_used_again():
    heap = Heap()
    first = heap.allocate(10 * MIB)
    heap.allocate(MIB)
    kept = heap.resident
    heap.free(first)
    heap.allocate(5 * MIB)
    assert heap.resident == kept


def test_a_block_that_stays_behind_keeps_what_lies_before_it():
    heap = Heap()
    blocks = [heap.allocate(30 * MIB) for _ in range(5)]
    heap.allocate(3 * MIB)
    for block in blocks:
        heap.free(block)
    assert heap.resident > 150 * MIB
