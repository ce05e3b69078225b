"""Near-duplicates: planted copies are found, and rows that only look alike are not."""

import random
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.prepare.duplicates import banding, likeness
from metier.prepare.duplicates import near as near_room
from metier.prepare.duplicates.clusters import Clusters, equal_runs
from metier.prepare.duplicates.near import near
from metier.prepare.duplicates.shelf import Compared, fill
from metier.prepare.duplicates.signatures import PLACES, signatures
from metier.prepare.duplicates.words import fold, places_of, windows_of, words_of
from tests.prepare.duplicates.planted import edited, restyled, sentence


def clusters_of(rows, folder: Path, least=0.8) -> list[int]:
    shelves = fill([Compared(*row) if len(row) == 4 else Compared("", *row) for row in rows], folder / "texts")
    return near(shelves.compared(np.arange(len(shelves))), folder, least).tolist()


def text_of(texts) -> list[str]:
    flat = [*texts.starts.ravel().tolist(), len(texts.buffer)]
    return [bytes(texts.buffer[begin:end]).decode().strip() for begin, end in pairwise(flat)]


def test_folding_leaves_words():
    rows = [("Hello,  WORLD! don’t", "“C++” is $5 < 6 %"), ("", "Ünïcode ǅ"), ("?!", "日本"), ("a\0b", "\1")]
    assert text_of(fold(rows)) == [
        "hello world don t", "c++ is $5 < 6 %", "", "ünïcode dž", "u3f u21", "日 本", "a b", "u1",
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), min_size=1, max_size=8))
def test_every_row_folds_by_itself_to_the_same(rows):
    rows = [tuple(part.encode("utf-8", "replace").decode() for part in row) for row in rows]
    together = text_of(fold(rows))
    alone = [part for row in rows for part in text_of(fold([row]))]
    assert together == alone
    words = words_of(fold(rows))
    assert len(words.hashes) == sum(len(part.split()) for part in together)


def test_equal_words_have_equal_hashes_wherever_they_stand():
    words = words_of(fold([("red fish", "blue"), ("fish fish", "red")]))
    red, fish, blue, *rest = words.hashes.tolist()
    assert rest == [fish, fish, red]
    assert len({red, fish, blue}) == 3
    assert words.owners.tolist() == [0, 0, 1, 2, 2, 3]


def test_signatures_agree_as_often_as_rows_share_windows():
    chosen = random.Random(0)
    pairs = []
    for share in (0.02, 0.1, 0.3):
        for _ in range(60):
            text = sentence(chosen, 120)
            pairs.append((text, edited(text, share, chosen)))
    texts = fold([(text,) for pair in pairs for text in pair])
    begins, _, owners = places_of(texts)
    found = signatures(windows_of(texts.buffer)[begins], owners, len(texts.starts))
    folded = text_of(texts)
    windows = [{f"{text}       "[match.start() :][:8] for match in re.finditer(r"\S+", text)} for text in folded]
    true = np.array([len(a & b) / len(a | b) for a, b in zip(windows[::2], windows[1::2], strict=True)])
    agreeing = (found[::2] == found[1::2]).mean(1)
    assert abs((agreeing - true).mean()) < 0.01
    assert np.sqrt(((agreeing - true) ** 2).mean()) < 1.2 * np.sqrt((true * (1 - true) / PLACES).mean())


KINDS = {
    "exact": (lambda text, _: text, 1.0),
    "style": (restyled, 1.0),
    "5 %": (lambda text, chosen: edited(text, 0.05, chosen), 0.98),
    "15 %": (lambda text, chosen: edited(text, 0.15, chosen), 0.9),
}


def test_planted_copies_are_found_and_nothing_else(tmp_path):
    chosen = random.Random(1)
    base = [sentence(chosen, chosen.randrange(20, 200)) for _ in range(1000)]
    rows, planted = list(base), {}
    for number, (kind, (change, _)) in enumerate(KINDS.items()):
        for place in range(100 * number, 100 * number + 100):
            planted[len(rows)] = (kind, place)
            rows.append(change(base[place], chosen))
    found = clusters_of([("", row, 0) for row in rows], tmp_path)
    for kind, (_, least) in KINDS.items():
        hits = [found[copy] == place for copy, (name, place) in planted.items() if name == kind]
        assert sum(hits) >= least * len(hits), kind
    joined = [(row, first) for row, first in enumerate(found) if row != first]
    assert all(planted.get(row, ("", -1))[1] == first for row, first in joined)


def test_what_must_be_equal_is_never_joined(tmp_path):
    assert clusters_of(
        [("how do i top up", "", 1), ("How do I top-up?", "", 2), ("how do i top up!", "", 1)], tmp_path
    ) == [0, 1, 0]


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        (("Is it safe for dogs to eat avocado?", "No, avocado is dangerous for dogs."),
         ("Is it safe for dogs to eat chocolate?", "No, chocolate is dangerous for dogs."), False),
        (("How many cents are in 3 quarters?", "75 cents"), ("How many cents are in 4 quarters?", "75 cents"), False),
        (("What is the capitol of Nevada?", "Carson City"), ("What is the capital of Nevada?", "Carson City"), True),
        (("Is this review good?", "yes"), ("Is this review good?", "no"), False),
        (("👍", ""), ("👎", ""), False),
        (("x = 1 + 1", ""), ("x = 1 < 1", ""), False),
        (("今日は天気がいいですね", ""), ("今日は天気がいいですね。", ""), True),
        (("今日は天気がいいですね", ""), ("明日は雨が降るそうです", ""), False),
    ],
)  # fmt: skip
def test_short_rows_are_told_apart_by_a_word_and_not_by_a_letter(tmp_path, first, second, alike):
    assert (clusters_of([(*first, 0), (*second, 0)], tmp_path) == [0, 0]) is alike


def test_a_shared_frame_makes_no_rows_alike(tmp_path):
    chosen = random.Random(2)
    frame = sentence(chosen, 150)
    rows = [(f"{frame} Ticket: {sentence(chosen, 6)}", "billing", 0) for _ in range(300)]
    assert clusters_of(rows, tmp_path) == list(range(300))
    settings = [(frame, sentence(chosen, 6), "billing", 0) for _ in range(10)]
    folder = tmp_path / "other"
    folder.mkdir()
    assert clusters_of(settings, folder) == list(range(10))


def test_a_setting_of_its_own_counts(tmp_path):
    chosen = random.Random(3)
    rows = [(sentence(chosen, 40), "Go.", "billing", 0) for _ in range(10)]
    assert clusters_of(rows, tmp_path) == list(range(10))


def test_the_likeness_decides(tmp_path):
    chosen = random.Random(4)
    text = sentence(chosen, 200)
    rows = [("", text, 0), ("", edited(text, 0.15, chosen), 0)]
    for least, expected in ((0.8, [0, 0]), (0.95, [0, 1])):
        folder = tmp_path / str(least)
        folder.mkdir()
        assert clusters_of(rows, folder, least) == expected


def test_the_same_rows_give_the_same_clusters_in_batches_of_any_size(tmp_path, monkeypatch):
    chosen = random.Random(5)
    rows = [("", sentence(chosen, 60), 0) for _ in range(80)]
    rows += [("", edited(text, 0.05, chosen), 0) for _, text, _ in rows]
    found = []
    for size, part in ((1 << 19, 1 << 19), (1 << 10, 1 << 6)):
        monkeypatch.setattr(near_room, "_BATCH_BYTES", size)
        monkeypatch.setattr(near_room, "_PART", part)
        monkeypatch.setattr(banding, "_TOGETHER", part)
        monkeypatch.setattr(likeness, "_BATCH_BYTES", size)
        folder = tmp_path / str(size)
        folder.mkdir()
        found.append(clusters_of([*rows, *rows[:9]], folder))
    assert found[0] == found[1] == [*range(80), *range(80), *range(9)]


def test_a_refused_pair_is_judged_once():
    fresh = banding._Fresh()
    pairs = np.array([[0, 1], [0, 2], [0, 1], [5, 9]])
    assert fresh.of(pairs).tolist() == [[0, 1], [0, 2], [5, 9]]
    assert fresh.of(np.array([[0, 2], [1, 2]])).tolist() == [[1, 2]]


@pytest.mark.parametrize("long", [7, 8, 9, 17, 127, 128, 129, 5000])
def test_a_word_of_any_length_is_told_from_others(long):
    words = ["a" * long, "a" * (long - 1) + "b", "b" + "a" * (long - 1), "a" * long]
    first, last, begin, again = words_of(fold([(" ".join(words),)])).hashes.tolist()
    assert again == first
    assert len({first, last, begin}) == 3


def test_nothing_to_compare(tmp_path):
    assert clusters_of([], tmp_path) == []
    folder = tmp_path / "empty"
    folder.mkdir()
    assert clusters_of([("", "", 0), ("", "", 0), ("", "", 1)], folder) == [0, 0, 2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_clusters_are_the_connected_parts(pairs):
    clusters = Clusters(31)
    clusters.join(np.array(pairs, np.int64).reshape(-1, 2))
    expected = list(range(31))
    for _ in range(31):
        for one, two in pairs:
            expected[one] = expected[two] = min(expected[one], expected[two])
    assert clusters.roots_of(np.arange(30, -1, -3)).tolist() == expected[30::-3]
    assert clusters.roots().tolist() == expected


@given(st.lists(st.integers(0, 5), max_size=12).map(sorted))
def test_equal_keys_are_found_in_runs(keys):
    expected = [
        (keys.index(key), keys.index(key) + keys.count(key)) for key in sorted(set(keys)) if keys.count(key) > 1
    ]
    assert list(equal_runs(np.array(keys, np.int64))) == expected
