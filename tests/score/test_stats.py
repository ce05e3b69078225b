import time

import numpy as np
import pytest

from metier.score import classify, resample
from metier.score.intervals import mcnemar, never_seen, score_difference, wilson
from metier.score.stats import Measure, Sampling, compare, exponential, ratio, share

FAST = Sampling(samples=1000)


def rows(count: int, first: float, second: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong for two independent models."""
    random = np.random.default_rng(seed)
    return random.random(count) < first, random.random(count) < second


def test_few_rows_use_exact_methods() -> None:
    first, second = rows(90, 0.4, 0.7)
    (found,) = compare([share("accuracy", first, second)], groups=None, sampling=FAST)
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    assert (found.method, found.rows, found.units) == ("score", 90, 90)
    assert (found.gained, found.lost, found.p) == (gained, lost, mcnemar(gained, lost))
    assert found.difference.value == pytest.approx(second.mean() - first.mean())
    assert (found.difference.low, found.difference.high) == score_difference(gained, lost, 90, 0.95)
    assert (found.first.low, found.first.high) == wilson(first.sum(), 90, 0.95)
    assert (found.second.low, found.second.high) == wilson(second.sum(), 90, 0.95)


def test_many_rows_use_the_bootstrap_and_agree_with_theory() -> None:
    first, second = rows(1000, 0.4, 0.7)
    (found,) = compare([share("accuracy", first, second)], groups=None, sampling=Sampling(samples=4000))
    error = (second.astype(float) - first).std() / np.sqrt(1000)
    assert found.method == "bootstrap"
    assert found.difference.low == pytest.approx(found.difference.value - 1.96 * error, abs=0.004)
    assert found.difference.high == pytest.approx(found.difference.value + 1.96 * error, abs=0.004)


def test_groups_widen_the_interval_and_forbid_tests_of_single_rows() -> None:
    random = np.random.default_rng(3)
    same = np.repeat(random.random((60, 2)) < 0.5, 10, axis=0)
    groups = [f"user {row // 10}" for row in range(600)]
    measure = share("accuracy", same[:, 0], same[:, 1])
    (alone,) = compare([measure], groups=None, sampling=FAST)
    (grouped,) = compare([measure], groups=groups, sampling=FAST)
    width = [found.difference.high - found.difference.low for found in (alone, grouped)]
    assert width[1] / width[0] == pytest.approx(np.sqrt(10), rel=0.15)
    assert (grouped.units, grouped.rows) == (60, 600)
    assert grouped.gained is grouped.lost is grouped.changes is None
    assert grouped.p is not None
    assert grouped.error > 2 * alone.error


def test_rows_without_a_group_stand_alone() -> None:
    first, second = rows(60, 0.4, 0.7)
    measure = share("accuracy", first, second)
    (mixed,) = compare([measure], groups=["a", "a", *[None] * 58], sampling=FAST)
    assert mixed.units == 59
    (alone,) = compare([measure], groups=[None] * 60, sampling=FAST)
    assert alone == compare([measure], groups=None, sampling=FAST)[0]


def test_few_groups_use_student() -> None:
    first, second = rows(60, 0.4, 0.7)
    groups = [str(row // 6) for row in range(60)]
    (found,) = compare([share("accuracy", first, second)], groups=groups, sampling=FAST)
    assert (found.method, found.units) == ("t", 10)
    difference = (second.astype(float) - first).reshape(10, 6).mean(axis=1)
    assert found.difference.high - found.difference.value == pytest.approx(
        2.262157 * difference.std(ddof=1) / np.sqrt(10)
    )


def test_the_same_seed_gives_the_same_interval_and_each_setting_changes_it() -> None:
    random = np.random.default_rng(0)
    measure = share("overlap", random.random(300), random.random(300))
    first = compare([measure], groups=None, sampling=Sampling(samples=500))[0].difference
    assert compare([measure], groups=None, sampling=Sampling(samples=500))[0].difference == first
    assert compare([measure], groups=None, sampling=Sampling(samples=500, seed=1))[0].difference != first
    assert compare([measure], groups=None, sampling=Sampling(samples=600))[0].difference != first
    narrow = compare([measure], groups=None, sampling=Sampling(samples=500, confidence=0.8))[0].difference
    assert first.low < narrow.low < narrow.high < first.high


def test_units_that_are_all_alike_are_not_certain() -> None:
    nothing, everything = np.zeros(400), np.ones(400)
    (found,) = compare([share("exact match", nothing, nothing)], groups=None, sampling=FAST)
    bound = never_seen(400, 0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((-bound, bound))
    (found,) = compare([share("exact match", nothing, everything)], groups=None, sampling=FAST)
    assert found.difference.low == pytest.approx(1 - bound)
    assert found.difference.high == 1


def test_a_loss_is_a_ratio_of_sums_and_perplexity_its_exponential() -> None:
    random = np.random.default_rng(0)
    tokens = random.integers(1, 30, 200).astype(float)
    tables = [np.stack([tokens * random.normal(mean, 0.1, 200), tokens], axis=1) for mean in (2.0, 1.5)]
    loss, perplexity = compare(
        [
            Measure(name="loss", first=tables[0], second=tables[1], statistic=ratio),
            Measure(name="perplexity", first=tables[0], second=tables[1], statistic=exponential),
        ],
        groups=None,
        sampling=FAST,
    )
    assert loss.first.value == pytest.approx(tables[0][:, 0].sum() / tokens.sum())
    assert perplexity.second.value == pytest.approx(np.exp(loss.second.value))
    assert loss.difference.low < -0.5 < loss.difference.high < 0


def test_rows_that_do_not_concern_a_measure_do_not_count() -> None:
    first, second = rows(400, 0.4, 0.7)
    concerned = np.arange(400) % 4 == 0
    whole, part = compare(
        [share("all", first, second), share("part", first, second, concerned)], groups=None, sampling=FAST
    )
    assert (whole.rows, part.rows, part.units, part.method) == (400, 100, 100, "score")
    assert part.second.value == pytest.approx(second[concerned].mean())
    (alone,) = compare([share("part", first[concerned], second[concerned])], groups=None, sampling=FAST)
    assert alone == part


def test_one_row_and_no_row_have_no_interval() -> None:
    (found,) = compare([share("accuracy", np.array([0]), np.array([1]))], groups=None, sampling=FAST)
    assert (found.method, found.difference.value) == ("none", 1.0)
    assert np.isnan(found.difference.low)
    nothing = np.zeros(3, dtype=bool)
    (empty,) = compare([share("accuracy", nothing, nothing, nothing)], groups=None, sampling=FAST)
    assert np.isnan(empty.difference.value)
    assert empty.rows == 0
    assert compare([], groups=None, sampling=FAST) == []


def test_thin_and_dense_tables_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    names = [str(value) for value in range(40)]
    wanted, said = ([names[i] for i in random.integers(0, 40, 500)] for _ in range(2))
    tables = [classify.counts(outputs, wanted, names) for outputs in (said, wanted)]
    measures = [
        Measure(name="macro F1", first=tables[0], second=tables[1], statistic=classify.macro_f1, bounds=(0, 1)),
        share("accuracy", tables[0][:, 0], tables[1][:, 0]),
    ]
    thin = compare(measures, groups=None, sampling=FAST)
    monkeypatch.setattr(resample, "_SPARSE_BELOW_DENSITY", 0.0)
    dense = compare(measures, groups=None, sampling=FAST)
    for one, other in zip(thin, dense, strict=True):
        assert one.difference.low == pytest.approx(other.difference.low, rel=1e-9)
        assert one.difference.high == pytest.approx(other.difference.high, rel=1e-9)
    assert thin[0].second.value == pytest.approx(1.0)


def test_three_thousand_rows_of_77_labels_take_seconds() -> None:
    random = np.random.default_rng(0)
    names = [str(value) for value in range(77)]
    wanted = [names[i] for i in random.integers(0, 77, 3080)]
    said = [name if random.random() < 0.8 else names[0] for name in wanted]
    tables = [classify.counts(outputs, wanted, names) for outputs in (names[:1] * 3080, said)]
    measure = Measure(name="macro F1", first=tables[0], second=tables[1], statistic=classify.macro_f1, bounds=(0, 1))
    start = time.process_time()
    compare([measure], groups=None, sampling=Sampling())
    assert time.process_time() - start < 20
