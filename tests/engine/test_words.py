from hypothesis import given
from hypothesis import strategies as st

from metier.engine.queue import FairQueue
from metier.engine.words import Words


def _bytes(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_pieces_join_to_the_text_before_the_first_stop(text: str, stops: list[str]) -> None:
    words, shown = Words(_bytes, stops), ""
    for byte in text.encode("utf-8", errors="ignore"):
        if not words.stopped:
            shown += words.add(byte)
            assert "\ufffd" not in shown or "\ufffd" in text
    shown += words.rest()
    whole = text.encode("utf-8", errors="ignore").decode()
    places = [whole.find(stop) for stop in stops if stop in whole]
    if not places:
        assert shown == whole
        return
    # byte by byte the stop that ends first ends the answer, and takes away what it began with
    first = min((whole.find(stop) + len(stop), whole.find(stop)) for stop in stops if stop in whole)
    assert shown == whole[: first[1]]


def test_half_a_character_is_never_shown() -> None:
    words = Words(_bytes)
    assert [words.add(byte) for byte in "é!".encode()] == ["", "é", "!"]


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_the_fair_queue_loses_nothing_and_keeps_each_owner_s_order(owners: list[str]) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number, owner in enumerate(owners):
        queue.put(owner, (owner, number))
    taken = [queue.take(lambda item: True) for _ in owners]
    assert sorted(item[1] for item in taken if item) == list(range(len(owners)))
    for owner in "abc":
        numbers = [item[1] for item in taken if item and item[0] == owner]
        assert numbers == sorted(numbers)
    assert queue.take(lambda item: True) is None
