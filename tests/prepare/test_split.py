"""Splits: groups never straddle, labels get their share, and rows stay where they are when others come."""

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.core.errors import DataError
from metier.prepare import units
from metier.prepare.places import ROLES
from metier.prepare.settings import PrepareSettings
from metier.prepare.split import divide
from tests.prepare.columns import columns, gone, named, place
from tests.prepare.workshop import rows


def split(places, seed=0, files=(), times=None, **values):
    of_split = {name: values.pop(name) for name in ("by", "stratify", "group_inputs") if name in values}
    clusters = values.pop("clusters", None)
    chosen = PrepareSettings(**values, split=of_split)
    division = divide(columns(places, times), chosen, clusters=clusters, files=files, seed=seed)
    return division, named(places, division)


PLACES = st.lists(
    st.builds(
        lambda number, label, group, asks: (number, label, group, asks),
        st.integers(0, 10_000),
        st.sampled_from([None, "a", "b", "c"]),
        st.sampled_from([None, None, "g1", "g2", "g3", "g4", "g5"]),
        st.integers(0, 40),
    ),
    min_size=12,
    max_size=150,
    unique_by=lambda row: row[0],
)


def built(rows):
    return [place(number, label=label, group=group, asks=f"q{asks}") for number, label, group, asks in rows]


@settings(max_examples=150, deadline=None)
@given(PLACES, st.integers(0, 50), st.booleans(), st.booleans())
def test_groups_and_questions_never_straddle_and_no_row_is_lost(drawn, seed, stratify, group_inputs):
    places = built(drawn)
    try:
        division, found = split(places, seed, stratify=stratify, group_inputs=group_inputs)
    except DataError as error:
        assert "group(s)" in str(error) or "different training row" in str(error)  # noqa: PT017
        return
    assert set(found.values()) == {"train", "validation", "test"}
    assert len(found) == len(places)
    by_group, by_question = defaultdict(set), defaultdict(set)
    for where in places:
        (by_group if where.group else by_question)[where.group or where.asks].add(found[where.id])
    assert all(len(parts) == 1 for parts in by_group.values())
    if group_inputs and not any(choice.name == "rows split one by one" for choice in division.choices):
        assert all(len(parts) == 1 for parts in by_question.values())


@settings(max_examples=60, deadline=None)
@given(PLACES, st.integers(0, 50), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(drawn, seed, random):
    places = built(drawn)
    shuffled = list(places)
    random.shuffle(shuffled)
    try:
        assert split(places, seed)[1] == split(shuffled, seed)[1]
    except DataError:
        with pytest.raises(DataError):
            split(shuffled, seed)


@settings(max_examples=40, deadline=None)
@given(st.integers(300, 600), st.integers(1, 400), st.integers(0, 1000))
def test_rows_stay_where_they_are_when_others_come(before, added, seed):
    """A row moves only at the edge of a label that drew far from its share: hardly any do, whatever is added."""
    labels = ("a", "b", "c")
    grown = [place(number, label=labels[number % 3]) for number in range(before + added)]
    old, new = split(grown[:before], seed)[1], split(grown, seed)[1]
    assert sum(old[name] != new[name] for name in old) <= 0.1 * before
    assert sum(old[name] == "test" != new[name] for name in old) <= 0.03 * before


def test_on_average_growth_moves_one_row_in_fifty_or_fewer():
    grown = [place(number, label="abc"[number % 3]) for number in range(600)]
    moved = 0
    for seed in range(20):
        old, new = split(grown[:400], seed)[1], split(grown, seed)[1]
        moved += sum(old[name] != new[name] for name in old)
    assert moved <= 0.02 * 20 * 400


def test_rows_without_the_correction_never_move():
    """With one large label nothing is corrected, so growth moves no row at all."""
    grown = [place(number) for number in range(4000)]
    sizes = (2000, 2500, 3000, 4000)
    divided = [split(grown[:size])[1] for size in sizes]
    for small, large in pairwise(divided):
        assert all(large[name] == part for name, part in small.items())


def test_every_label_gets_its_share_of_each_split():
    places = [place(f"{label}-{number}", label=str(label)) for label in range(77) for number in range(100 + label)]
    _, found = split(places)
    counts = defaultdict(Counter)
    for where in places:
        counts[where.label][found[where.id]] += 1
    for label, parts in counts.items():
        for part in ("validation", "test"):
            wanted = 0.1 * (100 + int(label))
            assert abs(parts[part] - wanted) <= wanted**0.5 + 1


def test_stratify_is_what_gives_small_labels_their_share():
    places = [place(f"{label}-{number}", label=str(label)) for label in range(40) for number in range(10)]

    def untested(stratify):
        found = split(places, stratify=stratify)[1]
        return 40 - len({where.label for where in places if found[where.id] == "test"})

    assert untested(True) == 0
    assert untested(False) > 5


@pytest.mark.parametrize(("name", "part"), [("test_share", "test"), ("validation_share", "validation")])
def test_shares_are_followed_and_0_means_none(name, part):
    places = [place(number) for number in range(2000)]
    assert abs(list(split(places, **{name: 0.3})[1].values()).count(part) - 600) < 75
    assert part not in split(places, **{name: 0})[1].values()


def test_no_share_at_all_leaves_everything_in_training():
    _, found = split([place(1)], test_share=0, validation_share=0)
    assert found == {"id 1": "train"}


def test_the_seed_changes_the_split():
    places = [place(number) for number in range(200)]
    assert split(places, 0)[1] != split(places, 1)[1]


@pytest.mark.parametrize("count", range(3, 12))
def test_few_rows_still_fill_every_split(count):
    for seed in range(20):
        parts = Counter(split([place(number) for number in range(count)], seed)[1].values())
        assert set(parts) == {"train", "validation", "test"}
        assert parts["train"] >= parts["test"]


def test_too_few_rows():
    with pytest.raises(DataError, match="2 different training row"):
        split([place(1), place(2)])


def test_group_inputs_keeps_the_same_question_together():
    places = [place(number, asks=f"q{number // 4}") for number in range(400)]
    for together in (True, False):
        parts = defaultdict(set)
        found = split(places, group_inputs=together)[1]
        for where in places:
            parts[where.asks].add(found[where.id])
        assert all(len(kinds) == 1 for kinds in parts.values()) is together


def test_what_everybody_asks_keeps_nothing_together_and_that_is_told():
    places = [place(number, asks="Write a story.") for number in range(300)]
    division, found = split(places)
    assert 15 <= Counter(found.values())["test"] <= 45
    (choice,) = division.choices
    assert (choice.name, choice.value) == ("rows split one by one", 300)


def test_a_giant_group_stays_in_training_and_that_is_told():
    places = [place(f"g{number}", group="giant") for number in range(150)]
    places += [place(number, group=f"small {number // 3}") for number in range(150)]
    for seed in range(20):
        division, found = split(places, seed)
        assert found["id g0"] == "train"
        assert division.choices[0].name == "groups kept in training"
        assert set(found.values()) == {"train", "validation", "test"}


def test_three_giant_groups_are_all_there_is():
    places = [place(number, group=str(number % 3)) for number in range(90)]
    assert set(split(places)[1].values()) == {"train", "validation", "test"}


def test_groups_of_held_out_files_leave_training():
    places = [place(number, group=f"g{number % 10}") for number in range(50)]
    places += [place("held", role="test", group="g3")]
    division, found = split(places, files={"test"})
    assert [item.reason for item in gone(places, division)] == ["its group is in the test file"] * 5
    assert {item.source for item in gone(places, division)} == {f"t.jsonl:{number}" for number in range(3, 50, 10)}
    assert all(found[f"id {number}"] is None for number in range(3, 50, 10))


def test_max_rows_keeps_exactly_that_many():
    places = [place(number) for number in range(100)]
    division, found = split(places, max_rows=40)
    assert Counter(found.values())[None] == 60
    assert {item.reason for item in gone(places, division)} == {"over prepare.max_rows"}


def test_named_files_are_left_alone():
    places = [
        *(place(number) for number in range(100)),
        *(place(f"v{number}", role="validation") for number in range(5)),
    ]
    _, found = split(places, files={"validation"})
    assert Counter(found.values())["validation"] == 5
    assert Counter(found.values())["test"] > 0


def test_conversations_cut_at_each_turn_stay_together(workshop):
    records = []
    for number in range(60):
        talk = [{"role": "user", "content": f"opening {number}"}, {"role": "assistant", "content": "yes"}]
        records += [{"messages": talk}, {"messages": [*talk, {"role": "user", "content": "and?"}, talk[1]]}]
    found = rows(workshop.prepare(workshop.lines("t.jsonl", records)))
    openings = [{row.messages[0].content for row in part} for part in found.values()]
    assert not openings[0] & openings[1]
    assert not openings[0] & openings[2]
    assert not openings[1] & openings[2]


def test_near_duplicates_never_straddle_even_across_groups():
    places = [place(number, group=f"g{number // 2}") for number in range(300)]
    clusters = np.arange(300)
    clusters[3:290:10] = np.arange(1, 288, 10)  # ties a group to the one before it
    _, found = split(places, clusters=clusters)
    for first in range(1, 288, 10):
        assert found[f"id {first}"] == found[f"id {first + 2}"]
    assert set(found.values()) == {"train", "validation", "test"}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 2999), min_size=1, max_size=300))
def test_new_near_duplicates_move_no_row_that_was_there(seed, copied):
    before = [place(number) for number in range(3000)]
    grown = [*before, *(place(f"copy {number}") for number in range(len(copied)))]
    clusters = np.arange(len(grown))
    clusters[3000:] = copied
    old, new = split(before, seed)[1], split(grown, seed, clusters=clusters)[1]
    assert sum(old[name] != new[name] for name in old) <= 3  # what a correction at the edge may move
    assert all(new[f"id copy {number}"] == new[f"id {row}"] for number, row in enumerate(copied))


def test_rows_that_are_all_near_duplicates_are_split_all_the_same_and_that_is_told():
    division, found = split([place(number) for number in range(60)], clusters=np.zeros(60, np.int64))
    assert set(found.values()) == {"train", "validation", "test"}
    assert "near-duplicates of 1" in division.warnings[0]


def test_by_time_holds_out_the_latest_rows():
    places = [place(number, group=f"g{number // 5}", label="ab"[number % 2]) for number in range(200)]
    times = {f"id {number}": 1000.0 + number * 3600 for number in range(200)}
    division, found = split(places, times=times, by="time")
    parts = {part: [number for number in range(200) if found[f"id {number}"] == part] for part in ROLES}
    assert parts == {"train": list(range(160)), "validation": list(range(160, 180)), "test": list(range(180, 200))}
    assert division.choices[0].name == "trained on the past"
    assert "1970-01-07" in division.choices[0].value
    assert split(places, times=times)[1] != found


def test_by_time_a_group_goes_with_its_latest_row():
    places = [place(number, group="split in two" if number in (3, 99) else None) for number in range(100)]
    _, found = split(places, times={f"id {number}": float(number) for number in range(100)}, by="time")
    assert found["id 3"] == found["id 99"] == "test"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=10, max_size=120), st.integers(0, 5))
def test_by_time_nothing_trained_on_is_later_than_what_is_held_out(days, seed):
    places = [place(number) for number in range(len(days))]
    times = {f"id {number}": float(day) for number, day in enumerate(days)}
    if len(set(days)) < 3:
        with pytest.raises(DataError, match=r"prepare\.split\.by: time"):
            split(places, seed, times=times, by="time")
        return
    _, found = split(places, seed, times=times, by="time")
    spans = {part: [times[name] for name in found if found[name] == part] for part in ROLES}
    assert max(spans["train"]) < min(spans["validation"])
    assert max(spans["validation"]) < min(spans["test"])


def test_by_time_rows_without_a_time_stay_in_training_and_that_is_told():
    places = [place(number) for number in range(100)]
    division, found = split(places, times={f"id {number}": float(number) for number in range(90)}, by="time")
    assert all(found[f"id {number}"] == "train" for number in range(90, 100))
    assert "10 row(s) without a time" in division.warnings[0]


def test_by_time_without_any_time_is_refused():
    with pytest.raises(DataError, match="0 different time"):
        split([place(number) for number in range(30)], by="time")


def test_by_time_through_the_files(workshop):
    records = [
        {"text": f"{'abcdefghij'[number % 10] * 5} {number}", "when": f"{1 + number % 28}.{1 + number // 28}.2024"}
        for number in range(140)
    ]
    result = workshop.prepare(workshop.lines("t.jsonl", records), columns={"time": "when"}, split={"by": "time"})
    times = {part: [row.time for row in found] for part, found in rows(result).items()}
    assert max(times["train"]) < min(times["validation"]) < max(times["validation"]) < min(times["test"])


@settings(max_examples=60, deadline=None)
@given(PLACES, st.integers(1, 9))
def test_rows_are_split_alike_in_parts_of_any_size(rows, part):
    whole = split(built(rows))[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "_PART", part)
        assert split(built(rows))[1] == whole
