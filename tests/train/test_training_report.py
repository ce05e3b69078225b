import json
from pathlib import Path

import pytest

from metier.core.errors import DataError
from metier.train.report import report

SUMMARY = {
    "steps": 20, "planned_steps": 20, "epochs": 2.5, "rows": 64, "tokens": 40_000, "seconds": 20.0,
    "seconds_with_loading": 25.0, "best_step": 20, "best_validation_loss": 0.5, "stopped_early": False,
    "peak_memory_bytes": 3 << 30, "threads": 2, "device": "cpu", "torch": "2.13.0",
}  # fmt: skip


def made(run: Path, *, losses: list[float], checks: dict[int, float], **changed) -> Path:
    run.mkdir()
    lines = []
    for step, loss in enumerate(losses, start=1):
        lines.append({"step": step, "loss": loss, "gradient_norm": 1.0, "learning_rate": 1e-3})
        if step in checks:
            lines.append({"step": step, "validation_loss": checks[step]})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "summary.json").write_text(json.dumps(SUMMARY | changed))
    (run / "choices.json").write_text(json.dumps([{"name": "train.epochs", "value": 2.5, "reason": "64 rows"}]))
    return run


def test_curves_facts_and_choices_are_told(tmp_path):
    told = report(made(tmp_path / "run", losses=[2 / (n + 1) for n in range(20)], checks={10: 0.9, 20: 0.5}))
    loss = told.figures[0]
    assert [series.name for series in loss.series] == ["training", "validation"]
    assert list(loss.series[1].x) == [10, 20]
    assert dict(told.facts)["tokens per second"] == 2000
    assert dict(told.facts)["peak memory (GiB)"] == 3
    assert told.tables[0].rows == (("train.epochs", 2.5, "64 rows"),)
    assert told.verdict.good is True
    assert "from 0.900 at the first check to 0.500 at step 20" in told.verdict.text


def test_a_loss_that_rose_again_is_remarked(tmp_path):
    run = made(
        tmp_path / "run", losses=[1.0] * 20, checks={5: 0.9, 10: 0.5, 20: 0.8}, best_step=10, best_validation_loss=0.5
    )
    assert "it rose again" in report(run).verdict.text


def test_an_early_stop_is_told(tmp_path):
    run = made(tmp_path / "run", losses=[1.0] * 20, checks={5: 0.5, 20: 0.8}, stopped_early=True, planned_steps=90)
    assert "stopped early after 20 of 90 steps" in report(run).verdict.text


def test_a_validation_loss_that_never_fell_is_no_success(tmp_path):
    run = made(tmp_path / "run", losses=[1.0] * 20, checks={5: 0.5, 20: 0.8}, best_step=5, best_validation_loss=0.5)
    assert report(run).verdict.good is False


def test_without_validation_rows_nothing_is_claimed(tmp_path):
    run = made(tmp_path / "run", losses=[2.0, 1.0], checks={}, best_step=None, best_validation_loss=None)
    told = report(run)
    assert told.verdict.good is None
    assert [series.name for series in told.figures[0].series] == ["training"]


def test_long_curves_are_thinned_and_keep_their_extremes(tmp_path):
    losses = [1.0] * 5000
    losses[2500] = 9.0
    curve = report(made(tmp_path / "run", losses=losses, checks={5000: 0.5})).figures[0].series[0]
    assert len(curve.y) == 300
    assert max(curve.high) == 9.0
    assert max(curve.y) < 2


def test_a_line_written_twice_after_a_resume_counts_once(tmp_path):
    run = made(tmp_path / "run", losses=[2.0, 1.0], checks={2: 0.5})
    path = run / "metrics.jsonl"
    path.write_text(path.read_text() * 2)
    assert len(report(run).figures[0].series[0].y) == 2


def test_an_unfinished_run_has_no_report(tmp_path):
    with pytest.raises(DataError, match=r"no summary\.json"):
        report(tmp_path)
