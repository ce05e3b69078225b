"""Are the promises of the statistics kept, and how long do they take? `python -m bench.statistics`.

The simulations are those of the trust anchors: coverage and false verdicts (11), power and A/A (12), the retention
gate (14), the bias gate (15). Latent scores of two models correlate by 0.9; inside groups of ten by 0.6.
"""

import argparse
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
from scipy.stats import norm

from bench import machine
from metier.score import significance
from metier.score.resample import Sampling
from metier.score.stats import Measure, Paired, compare, ratio, share
from metier.score.verdict import decide, kept

_MARGIN = 0.01


def pair(random: np.random.Generator, rows: int, shares: tuple[float, float], group: int = 1) -> Paired:
    """Evaluate two models whose true shares of right rows are known."""
    many = -(-rows // group)

    def latent() -> np.ndarray:
        if group == 1:
            return random.standard_normal(rows)
        parts = np.sqrt(0.6) * random.standard_normal((many, 1)) + np.sqrt(0.4) * random.standard_normal((many, group))
        return parts.ravel()[:rows]

    common = np.sqrt(0.9) * latent()
    right = [common + np.sqrt(0.1) * latent() < norm.ppf(each) for each in shares]
    groups = [str(row // group) for row in range(rows)] if group > 1 else None
    return compare([share("accuracy", *right)], groups=groups, sampling=Sampling(samples=1000))[0]


def word(found: Paired) -> str:
    """Return the verdict on one evaluation."""
    return decide(found, higher_is_better=True, margin=_MARGIN, confidence=0.95).word


def coverage(runs: int) -> Iterator[str]:
    """Yield one line for each size and kind of grouping: how often the interval holds the truth, how often we err."""
    for group in (1, 10):
        for rows in (30, 100, 500):
            random = np.random.default_rng([rows, group])
            found = [pair(random, rows, (0.7, 0.7), group) for _ in range(runs)]
            inside = np.mean([each.difference.low <= 1e-9 and each.difference.high >= -1e-9 for each in found])
            words = Counter(word(each) for each in found)
            wrong = (words["better"] + words["worse"]) / runs
            yield f"rows {rows}, groups of {group}: covers {inside:.3f}, better/worse {wrong:.4f}, {dict(words)}"


def power(runs: int) -> Iterator[str]:
    """Yield how often a real difference is found, and what an A/A comparison says."""
    random = np.random.default_rng(12)
    found = Counter(word(pair(random, 500, (0.70, 0.74))) for _ in range(runs))
    yield f"70 against 74 %, 500 rows: better {found['better'] / runs:.3f}, worse {found['worse'] / runs:.4f}"
    words: Counter[str] = Counter()
    for _ in range(max(300, runs // 4)):
        first = random.random(500) < 0.7
        second = first ^ (random.random(500) < 0.001)
        each = compare([share("accuracy", first, second)], groups=None, sampling=Sampling(samples=1000))[0]
        words[word(each)] += 1
    yield f"A/A, one row in a thousand flips: {dict(words)}"


def retention(runs: int) -> Iterator[str]:
    """Yield how often a gate of eight suites names the one that lost, and how often it lets a healthy model pass."""
    random = np.random.default_rng(14)
    names = [f"suite {number}" for number in range(8)]
    for rows, drop in ((120, 0.25), (400, 0.10), (1000, 0.05)):
        blocked = named = passed = 0
        for _ in range(runs):
            for lost in (3, None):
                found = {}
                for number, name in enumerate(names):
                    harm = drop if number == lost else 0.0
                    kind = random.choice(3, rows, p=[0.03, 0.03 + harm, 0.94 - harm])
                    measure = share(name, (kind == 1) | (kind == 2), (kind == 0) | (kind == 2))
                    found[name] = compare([measure], groups=None, sampling=Sampling(samples=400))[0]
                values = significance.holm([1.0 if f.p is None or f.value > 0 else f.p for f in found.values()])
                worse = [name for name, p in zip(names, values, strict=True) if p <= 0.05]
                if lost is None:
                    passed += not worse
                else:
                    blocked += bool(worse)
                    named += worse == [names[lost]]
        yield (
            f"{rows} items a suite, one of 8 drops {100 * drop:.0f} points: blocked {blocked / runs:.3f}, "
            f"named alone {named / runs:.3f}; healthy passes {passed / runs:.3f}"
        )
    kept_words = Counter(kept(pair(random, 400, (0.7, 0.7)), margin=0.05, higher_is_better=True) for _ in range(runs))
    yield f"healthy, 400 items, margin 5 points: {dict(kept_words)}"


def bias(runs: int) -> Iterator[str]:
    """Yield how often 1,500 pairs show a name effect of 3 points, and how often they show one that is not there."""
    random = np.random.default_rng(15)
    for effect in (0.03, 0.0):
        alarms = 0
        for _ in range(runs):
            kind = random.choice(3, 1500, p=[0.02, 0.02 + effect, 0.96 - effect])
            measure = share("flip", (kind == 1) | (kind == 2), (kind == 0) | (kind == 2))
            found = compare([measure], groups=None, sampling=Sampling(samples=400))[0]
            alarms += found.p is not None and found.p <= 0.05
        yield f"name effect of {100 * effect:.0f} points, 1,500 pairs: alarm in {alarms / runs:.3f}"


def speed() -> Iterator[str]:
    """Yield the time of 10,000 rows × 20 metrics × 20 slices with 10,000 resamples each."""
    random = np.random.default_rng(0)
    rows = 10_000
    slices = random.integers(0, 20, rows)
    for kind in ("shares", "losses"):
        measures = []
        for _ in range(20):
            values = (
                (random.random((2, rows)) < 0.7).astype(float) if kind == "shares" else random.gamma(2, 1, (2, rows))
            )
            for number in (None, *range(20)):
                mask = np.ones(rows) if number is None else (slices == number).astype(float)
                tables = [np.stack([each * mask, mask], axis=1) for each in values]
                measures.append(
                    Measure(
                        name=kind, first=tables[0], second=tables[1], statistic=ratio, binary=kind == "shares",
                        bounds=(0, 1) if kind == "shares" else (-np.inf, np.inf),
                    )
                )  # fmt: skip
        wall, cpu = time.perf_counter(), _cpu()
        compare(measures, groups=None, sampling=Sampling())
        yield (
            f"10,000 rows × 20 {kind} × (all and 20 slices), 10,000 resamples: "
            f"{time.perf_counter() - wall:.2f} s, {_cpu() - cpu:.2f} CPU-s"
        )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


_PARTS = {"coverage": coverage, "power": power, "retention": retention, "bias": bias}


def main() -> None:
    """Run the parts that are named and print a line for each number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["speed", *_PARTS], choices=["speed", *_PARTS, []])
    parser.add_argument("--runs", type=int, default=2000)
    options = parser.parse_args()
    print(json.dumps(machine.describe()))
    for name in options.parts:
        for line in speed() if name == "speed" else _PARTS[name](options.runs):
            print(f"{name}: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
