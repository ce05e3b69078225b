import numpy as np
import pytest

from metier.score.stats import Estimate, Paired, Sampling, compare, share
from metier.score.verdict import Decision, among_many, decide, kept, rows_needed


def paired(
    low: float, high: float, *, rows: int = 400, changed: tuple[int, int] | None = None, p: float = 0.0
) -> Paired:
    """A difference with its interval; the rest does not matter to the verdict."""
    level = Estimate(value=0.5, low=0.4, high=0.6)
    return Paired(
        name="accuracy", first=level, second=level, difference=Estimate(value=(low + high) / 2, low=low, high=high),
        rows=rows, units=rows, method="bootstrap",
        gained=changed[0] if changed else None, lost=changed[1] if changed else None, p=p if changed else None,
    )  # fmt: skip


def judge(found: Paired, *, higher: bool = True, margin: float = 0.01) -> Decision:
    return decide(found, higher_is_better=higher, margin=margin, confidence=0.95)


@pytest.mark.parametrize(
    ("low", "high", "higher", "word"),
    [
        (0.02, 0.08, True, "better"),
        (0.02, 0.08, False, "worse"),
        (-0.08, -0.02, True, "worse"),
        (-0.08, -0.02, False, "better"),
        (-0.02, 0.08, True, "cannot tell"),
        (-0.009, 0.009, True, "equivalent"),
        (0.002, 0.009, True, "equivalent"),
        (0.0, 0.0, True, "equivalent"),
    ],
)
def test_words(low: float, high: float, higher: bool, word: str) -> None:
    assert judge(paired(low, high), higher=higher).word == word


def test_a_two_point_drop_in_a_suite_of_40_rows_is_open() -> None:
    first = np.array([1] * 30 + [0] * 10)
    second = first.copy()
    second[:3] = 0
    second[30:32] = 1
    found = compare([share("accuracy", first, second)], groups=None, sampling=Sampling(samples=500))[0]
    decision = judge(found)
    assert decision.word == "cannot tell"
    assert decision.more_rows is not None
    assert decision.more_rows > 40


def test_few_changed_rows_settle_nothing_below_100_rows() -> None:
    assert judge(paired(0.01, 0.2, rows=60, changed=(7, 0), p=0.01)).word == "cannot tell"
    assert judge(paired(0.01, 0.2, rows=60, changed=(8, 0), p=0.01)).word == "better"
    assert judge(paired(0.01, 0.2, rows=160, changed=(7, 0), p=0.01)).word == "better"


def test_fewer_than_100_rows_are_only_a_hint() -> None:
    assert "hint" in judge(paired(0.02, 0.08, rows=99)).reason
    assert judge(paired(0.02, 0.08, rows=100)).reason == ""


def test_the_exact_test_must_agree() -> None:
    decision = judge(paired(0.01, 0.08, changed=(20, 10), p=0.09))
    assert decision.word == "cannot tell"
    assert "p = 0.090" in decision.reason


def test_no_interval_no_verdict() -> None:
    assert judge(paired(float("nan"), float("nan"), rows=1)).word == "cannot tell"


def test_rows_needed_would_give_the_power_they_promise() -> None:
    """Drawn anew with as many rows as asked for, four of five evaluations settle the question."""
    random = np.random.default_rng(0)
    shares = (0.06, 0.10)

    def evaluation(rows: int) -> Paired:
        kind = random.choice(3, rows, p=[shares[0], shares[1], 1 - sum(shares)])
        return compare([share("accuracy", kind == 0, kind == 1)], groups=None, sampling=Sampling(samples=400))[0]

    asked = []
    while len(asked) < 40:
        found = evaluation(150)
        more = rows_needed(found, margin=0.0, confidence=0.95)
        if more is not None and abs(found.difference.value - 0.04) < 0.004:
            asked.append(150 + more)
    total = int(np.median(asked))
    assert 500 < total < 1100
    settled = [judge(evaluation(total), margin=0.0).word == "better" for _ in range(100)]
    assert 0.66 < np.mean(settled) < 0.93


def test_rows_needed_is_none_when_no_number_would_do() -> None:
    assert rows_needed(paired(-0.1, 0.1), margin=0.0, confidence=0.95) is None
    assert rows_needed(paired(-0.1, 0.1), margin=0.01, confidence=0.95) is not None
    assert rows_needed(paired(float("nan"), float("nan")), margin=0.01, confidence=0.95) is None


def test_a_wider_margin_needs_fewer_rows() -> None:
    needs = [rows_needed(paired(-0.1, 0.1001), margin=margin, confidence=0.95) for margin in (0.01, 0.05)]
    assert None not in needs
    assert needs[0] > needs[1]


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-0.1, 0.04, "kept"), (0.01, 0.05, "kept"), (0.06, 0.2, "lost"), (0.01, 0.2, "cannot tell")],
)
def test_kept(low: float, high: float, word: str) -> None:
    assert kept(paired(low, high), margin=0.05) == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-0.04, 0.1, "kept"), (-0.2, -0.06, "lost"), (-0.2, 0.01, "cannot tell"), (float("nan"), 0.0, "cannot tell")],
)
def test_kept_where_higher_is_better(low: float, high: float, word: str) -> None:
    assert kept(paired(low, high), margin=0.05, higher_is_better=True) == word


def test_what_many_looks_would_show_by_chance_is_taken_back() -> None:
    found = [paired(-0.08, -0.02, changed=(1, 9), p=0.02), *[paired(-0.1, 0.1, changed=(5, 5), p=0.8)] * 9]
    decisions = [judge(each) for each in found]
    assert decisions[0].word == "worse"
    (decision, p), *rest = among_many(decisions, found, confidence=0.95)
    assert (decision.word, p) == ("cannot tell", pytest.approx(0.2))
    assert "p = 0.020 alone, but 0.200 among 10 slices" in decision.reason
    assert {each.word for each, _ in rest} == {"cannot tell"}
    (strong, _), *_ = among_many(decisions[:2], found[:2], confidence=0.95)
    assert strong.word == "worse"
