"""The course of a training from rewards: its verdict and its curves; imports no torch."""

from collections.abc import Sequence
from typing import Any

from metier.core.report import Figure, Series, Verdict

_Entries = Sequence[dict[str, Any]]
KEY = "validation_reward"


def verdict(summary: dict[str, Any], steps: _Entries, checks: _Entries) -> Verdict:
    """Say what the model was rewarded with at the beginning and at the end."""
    idle = sum(not step["computed"] for step in steps)
    told = f"; {idle:,} of {len(steps):,} steps had no answer better than another" if idle else ""
    if not checks:
        rewards = [step["reward"] for step in steps if "reward" in step]
        first, last = _mean(rewards[: _end(rewards)]), _mean(rewards[-_end(rewards) :])
        text = f"The mean reward of training prompts went from {first:.3f} to {last:.3f}{told}; none was held out."
        return Verdict(text=text, good=None)
    first, best = checks[0][KEY], max(check[KEY] for check in checks)
    by = "" if summary["best_by"] == "reward" else f", the best by {summary['best_by']} ({summary['best_value']:.3f})"
    step = f"step {summary['best_step']:,}{by}, whose weights were kept"
    text = f"The mean reward of held-out prompts went from {first:.3f} at the first check to {best:.3f} at {step}{told}"
    if summary["stopped_early"]:
        text += f"; stopped early after {summary['steps']:,} of {summary['planned_steps']:,} steps"
    return Verdict(text=f"{text}.", good=best > first or len(checks) == 1)


def _end(values: Sequence[float]) -> int:
    """Return how many values are a tenth."""
    return max(1, len(values) // 10)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def figures(steps: _Entries, checks: _Entries) -> tuple[Figure, ...]:
    """Draw rewards, lengths and shares; nothing where the model learns from something else."""
    if not any("reward" in step for step in steps):
        return ()
    both = [("training", steps, "reward"), ("held out", checks, KEY)]
    lengths = [("training", steps, "answer_tokens"), ("held out", checks, "answer_tokens")]
    shares = [("groups without a difference", steps, "even_groups"), ("answers that ended", steps, "ended")]
    return (
        _figure("Reward", both, "reward", "Mean reward of drawn answers; higher is better."),
        _figure("Spread of the rewards", [("training", steps, "reward_spread")], "reward", "Standard deviation."),
        _figure("Length of the answers", lengths, "tokens", "Mean tokens, stop token and all."),
        _figure("What there is to learn", shares, "share", "A group whose rewards are all alike teaches nothing."),
    )


def _figure(title: str, curves: Sequence[tuple[str, _Entries, str]], unit: str, note: str) -> Figure:
    series = [
        Series(
            name=name,
            x=[float(entry["step"]) for entry in entries if key in entry],
            y=[float(entry[key]) for entry in entries if key in entry],
        )
        for name, entries, key in curves
        if any(key in entry for entry in entries)
    ]
    return Figure(title=title, kind="lines", series=tuple(series), x_label="step", y_label=unit, note=note)
