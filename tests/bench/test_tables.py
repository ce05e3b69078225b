"""The benchmark's tables say what was measured."""

import numpy as np
import pytest

from bench import gpu, outcome_table, speed_table
from bench.speed_table import Measured, Setting

SETTING = Setting(model="tiny", work="balanced", method="lora", threads=1, rounds=2)
MACHINE = {"processor": "P", "cores_allowed": 1, "load": [0.5], "date": "d", "commit": "c", "command": "x"}


def measured(name: str, seconds: tuple[float, float], peak: int) -> Measured:
    steps = [
        {"wall": wall, "user": wall / 2, "system": wall / 2, "peak": peak, "gemm_wall": 1e9, "gemm_cpu": 1e9}
        for wall in seconds
    ]
    return Measured(name=name, ready={"start_cpu": 1.0}, steps=steps)


def test_ratios_pair_the_steps_of_a_round() -> None:
    results = [measured("metier", (1.0, 2.0), 50), measured("hand", (3.0, 2.0), 100)]
    line = speed_table.as_line(SETTING, results, MACHINE, {})
    ours, hand = line["contenders"]
    assert hand["faster_wall"] == {"median": 2.0, "least": 1.0, "most": 3.0}
    assert hand["faster_cpu"] == hand["faster_user"] == hand["faster_wall"]
    assert hand["memory_share"] == 0.5
    assert ours["examples_per_second"] == pytest.approx((16 / 1 + 16 / 2) / 2)
    assert "2.00× (1.00–3.00)" in speed_table.as_markdown(line)


def test_the_share_of_the_gemm_rate_is_of_what_a_step_needs() -> None:
    line = speed_table.as_line(SETTING, [measured("metier", (1.0, 1.0), 1)], MACHINE, {})
    needed = [entry["flop"] for entry in speed_table._needed(SETTING)]
    assert line["contenders"][0]["gemm_share_wall"] == pytest.approx(sum(needed) / 2 / 1e9)


def outcome(contender: str, seed: int, right: str) -> dict[str, object]:
    training = {"contender": contender, "data": "d", "base": "b", "budget": 5.0, "seed": seed}
    return {"training": training, "right": right, "seconds": 4.0, "steps": 3}


def test_outcomes_are_compared_row_by_row() -> None:
    lines = [outcome(name, seed, right) for seed in (0, 1) for name, right in (("metier", "1110"), ("trl", "1000"))]
    table = outcome_table.as_markdown(lines)
    assert "| metier | 4 | 3 | 75.0 %" in table
    assert "| +50.0 (+0.0 to +100.0) |" in table


def test_the_interval_covers_the_mean_and_narrows_with_rows() -> None:
    few, many = (np.random.default_rng(0).integers(0, 2, (3, rows)).astype(float) for rows in (20, 2000))
    for table in (few, many):
        low, high = outcome_table.interval(table)
        assert low < table.mean() < high
    width = [high - low for low, high in map(outcome_table.interval, (few, many))]
    assert width[1] < width[0] / 4


def test_rows_that_are_all_alike_still_leave_doubt() -> None:
    low, high = outcome_table.interval(np.zeros((3, 40)))
    assert low < 0 < high
    assert high > 0.05


def test_the_gpu_table_names_failures() -> None:
    setting = gpu.Setting(model="tiny", work="balanced", rounds=1, rows_per_step=4, micro_batch=2)
    steps = [{"wall": 2.0, "peak_gpu": 10}]
    entries = [
        {"contender": "metier", "variant": "", "steps": steps} | gpu._rates(setting, steps),
        {"contender": "trl", "variant": "liger", "failed": "no such thing\nImportError: liger"},
    ]
    line = {
        "setting": {"model": "tiny", "work": "balanced"},
        "device": "a GPU", "gemm": 1e12, "stated": 2e12, "entries": entries, "machine": MACHINE,
    }  # fmt: skip
    table = gpu.as_markdown(line)
    assert "| trl liger | failed: ImportError: liger |" in table
    assert "1.00×" in table
