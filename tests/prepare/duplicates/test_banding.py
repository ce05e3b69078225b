"""Rows of few words meet in many places: few pairs of them are judged, and copies among them are found all the same."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.prepare.duplicates import banding
from metier.prepare.duplicates.near import near
from metier.prepare.duplicates.shelf import Compared, fill
from metier.prepare.duplicates.signatures import BANDS, PLACES
from metier.prepare.duplicates.sketches import Sketches
from tests.prepare.duplicates.planted import WORDS, edited

_FEW_WORDS = WORDS[:21]


def _crowd(count: int) -> list[str]:
    chosen = random.Random(0)
    return [" ".join(chosen.choices(_FEW_WORDS, k=100)) for _ in range(count)]


@pytest.fixture
def judged(monkeypatch):
    """Every pair whose signatures are compared."""
    pairs, agreeing = [], Sketches.agreeing
    monkeypatch.setattr(Sketches, "agreeing", lambda *given: pairs.append(len(given[1])) or agreeing(*given))
    return pairs


def test_pairs_grow_with_the_rows_and_not_with_their_square(tmp_path, judged):
    seen = []
    for count in (1500, 6000):
        judged.clear()
        shelves = fill((Compared("", "", text, 0) for text in _crowd(count)), tmp_path / f"texts{count}")
        folder = tmp_path / str(count)
        folder.mkdir()
        assert (near(shelves.compared(np.arange(count)), folder, 0.8) == np.arange(count)).all()
        seen.append(sum(judged))
    assert seen[0] < 60 * 1500
    assert seen[1] < 60 * 6000


@pytest.mark.parametrize(("share", "least"), [(0.05, 0.98), (0.15, 0.9)])
def test_copies_in_a_crowd_are_found(tmp_path, share, least):
    chosen, texts = random.Random(1), _crowd(5000)
    copied = chosen.sample(range(len(texts)), 100)
    every = [*texts, *(edited(texts[number], share, chosen, _FEW_WORDS) for number in copied)]
    shelves = fill((Compared("", "", text, 0) for text in every), tmp_path / "texts")
    found = near(shelves.compared(np.arange(len(every))), tmp_path, 0.8)
    assert np.mean(found[len(texts) :] == copied) >= least


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 3), st.integers(1, 5))
def test_a_large_bucket_is_parted_by_the_places_behind_it(tmp_path_factory, seed, count, values, bands):
    folder = tmp_path_factory.mktemp("sketches")
    found = np.random.default_rng(seed).integers(0, values, (count, PLACES)).astype(np.uint32)
    with Sketches(folder, count) as sketches:
        sketches.add(found)
        sketches.seal()
        first = BANDS - bands
        further = banding.Further(sketches, first, BANDS, count)
        keys = np.sort(
            (sketches.bands(first, BANDS).ravel().astype(np.uint64) << np.uint64(32))
            | np.arange(bands * count, dtype=np.uint64)
        )
        buckets, rows = banding._parted(*banding._crowded(keys), further)
    expected = sorted(_expected(found.reshape(count, BANDS, 4), first))
    parts = [rows[buckets == bucket].tolist() for bucket in dict.fromkeys(buckets.tolist())]
    assert sum(map(len, parts)) == len(rows)
    assert sorted(parts) == expected


def _expected(places: np.ndarray, first: int) -> list[list[int]]:
    """Part the rows of each band by one further place after the other, as long as there are too many."""
    found = []
    for band in range(first, BANDS):
        behind = places[:, (band + 1) % BANDS]
        for bucket in _alike(list(range(len(places))), places[:, band]):
            if len(bucket) > 1:
                found += _split(bucket, behind, 0) if len(bucket) > banding._MANY else [bucket]
    return found


def _split(rows: list[int], behind: np.ndarray, depth: int) -> list[list[int]]:
    if depth and (len(rows) <= banding._FEW or depth == behind.shape[1]):
        return [rows]
    return [part for group in _alike(rows, behind[:, depth : depth + 1]) for part in _split(group, behind, depth + 1)]


def _alike(rows: list[int], places: np.ndarray) -> list[list[int]]:
    groups: dict[bytes, list[int]] = {}
    for row in rows:
        groups.setdefault(places[row].tobytes(), []).append(row)
    return list(groups.values())


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=200), st.booleans())
def test_every_key_that_meets_another_is_kept_and_the_kept_ones_are_in_order(hashes, near):
    """Planted: hashes so near that they share slots, which is no meeting."""
    spread = np.uint64(1) if near else np.uint64(0x9E3779B9)
    upper = (np.array(hashes, np.uint64) * spread) & np.uint64(0xFFFFFFFF)
    keys = (upper << np.uint64(32)) | np.arange(len(hashes), dtype=np.uint64)
    buckets, places = banding._crowded(keys)
    counts = {value: hashes.count(value) for value in hashes}
    assert sorted(places.tolist()) == [place for place, value in enumerate(hashes) if counts[value] > 1]
    assert (np.diff(buckets.astype(np.int64)) >= 0).all()


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 300), max_size=80), min_size=1, max_size=4), st.integers(1, 90))
def test_no_hash_that_meets_another_is_left_out_before_the_rest_is_sorted(turns, count):
    """Planted: a table of few slots, and what earlier hashes left in it."""
    slots = banding._Slots(count)
    for hashes in turns:
        kept = set(slots.sharing(np.array(hashes, np.uint32)).tolist())
        assert {place for place, value in enumerate(hashes) if hashes.count(value) > 1} <= kept
        assert len({hashes[place] & int(slots._mask) for place in kept}) * 2 <= len(kept)


def test_most_hashes_that_meet_no_other_are_not_sorted():
    hashes = np.random.default_rng(0).integers(0, 1 << 32, 100_000).astype(np.uint32)
    assert len(banding._Slots(len(hashes)).sharing(hashes)) < len(hashes) / 5
