"""What was forgotten: the loss on general text that has nothing to do with the task; imports no torch.

The text was written for this purpose: 40 short pieces of prose and 20 questions with their answers, in
`general.jsonl`. One piece is one unit of evidence.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metier.core.types import ChatRow, Dropped, Message, Row, TextRow
from metier.core.types import Sequence as Tokens
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.summary import judged, sampling
from metier.score import stats
from metier.score.metrics import measure
from metier.score.verdict import kept
from metier.text.render import Renderer, render

_FILE = Path(__file__).parent / "general.jsonl"


def general_rows() -> list[Row]:
    """Return the general pieces; `slice` is their kind (story, explanation, question …)."""
    rows: list[Row] = []
    for number, line in enumerate(_FILE.read_text(encoding="utf-8").splitlines(), 1):
        entry = json.loads(line)
        facts = {"id": f"general-{number:02d}", "source": f"general.jsonl:{number}", "slice": entry["kind"]}
        if "text" in entry:
            rows.append(TextRow(text=entry["text"], **facts))
        else:
            turns = (Message(role="user", content=entry["prompt"]), Message(role="assistant", content=entry["answer"]))
            rows.append(ChatRow(messages=turns, **facts))
    return rows


def general_sequences(renderer: Renderer) -> list[tuple[Row, tuple[Tokens, ...]]]:
    """Return the general pieces that this base can read, each with its sequences; without the task's system turn."""
    plain = dataclasses.replace(renderer, settings=renderer.settings.model_copy(update={"system": None}))
    pieces = []
    for row in general_rows():
        rendered = render(row, plain)
        if not isinstance(rendered, Dropped):
            pieces.append((row, rendered))
    return pieces


def ledger(rows: Sequence[Row], base: np.ndarray, tuned: np.ndarray, settings: EvaluateSettings) -> dict[str, Any]:
    """Compare the losses of two models on general text.

    Args:
        rows: the G pieces that were measured.
        base: float64 [G, 2], nats and tokens of each piece.
        tuned: the same for the tuned model.
        settings: the margin of what may be lost, and how intervals are made.

    Returns:
        `verdict` ("kept", "lost" or "cannot tell"), `margin`, `metrics` (loss, perplexity) and `kinds` (loss by kind).
    """
    kinds = list(dict.fromkeys(row.slice for row in rows))
    found = [measure(name, base, tuned) for name in ("loss", "perplexity")]
    for kind in kinds:
        inside = np.array([row.slice == kind for row in rows])[:, None]
        found.append(measure("loss", np.where(inside, base, 0.0), np.where(inside, tuned, 0.0)))
    estimates = stats.compare(found, groups=None, sampling=sampling(settings))
    return {
        "verdict": kept(estimates[0], margin=settings.suites.loss_margin),
        "margin": settings.suites.loss_margin,
        "metrics": [judged(paired, paired.name, settings) for paired in estimates[:2]],
        "kinds": [
            judged(paired, "loss", settings) | {"kind": kind, "kept": kept(paired, margin=settings.suites.loss_margin)}
            for kind, paired in zip(kinds, estimates[2:], strict=True)
        ],
    }
