"""Real report values for the faces: a page like the one `metier run` writes."""

import math

from metier.core.report import Example, Figure, Report, Series, Table, Verdict
from metier.report.page import Chapter, Page

LABELS = ("defect", "delivery", "order_status", "praise", "product_question", "refund", "warranty", "account")


def evaluation() -> Report:
    base = tuple(0.04 + 0.03 * (place % 4) for place in range(len(LABELS)))
    tuned = tuple(0.62 + 0.04 * (place % 8) for place in range(len(LABELS)))
    return Report(
        title="Evaluation",
        verdict=Verdict(
            text="Better: field accuracy 0.11 → 0.78 on 74 held-out rows, +0.67 (95 % interval +0.58 to +0.74).",
            good=True,
        ),
        facts=(("held-out rows", 74), ("split", "test"), ("times the test split was opened", 1), ("seconds", 41.27)),
        tables=(
            Table(
                title="Base against tuned",
                columns=("metric", "rows", "base", "tuned", "difference", "95 % interval", "verdict"),
                rows=(
                    ("exact match", 74, 0.0, 0.4324, "+0.432", "+0.32 to +0.55", "better"),
                    ("JSON validity", 74, 0.1216, 1.0, "+0.878", "+0.80 to +0.95", "better"),
                    ("field accuracy", 74, 0.1135, 0.7811, "+0.668", "+0.58 to +0.74", "better"),
                    ("loss on general text", 60, 3.412, 3.468, "+0.056", "+0.03 to +0.08", "within margin"),
                ),
                note="Paired bootstrap over rows, 10,000 samples.",
            ),
        ),
        figures=(
            Figure(
                title="Exact match by intent",
                kind="bars",
                series=(
                    Series(name="base", x=LABELS, y=base, low=[0.0] * 8, high=[v + 0.06 for v in base]),
                    Series(
                        name="tuned", x=LABELS, y=tuned, low=[v - 0.12 for v in tuned], high=[v + 0.09 for v in tuned]
                    ),
                ),
                y_label="share of rows answered exactly",
                note="Whiskers: 95 % intervals.",
            ),
        ),
        examples=(
            Example(
                source="data/messages.jsonl:412",
                prompt="order FW-31177, burrow v10. shipped yet? <b>asap</b> [bold]",
                reference='{"intent": "order_status", "product": "vacuum", "priority": "normal"}',
                outputs=(
                    ("base", "The order is a thing that the vacuum shipped."),
                    ("tuned", '{"intent": "delivery", "product": "vacuum", "priority": "normal"}'),
                ),
                note="loss 2.31",
            ),
            Example(
                source="data/messages.jsonl:97",
                prompt="it stopped boiling. just clicks off after like 10 seconds\x1b[31m",
                reference='{"intent": "defect"}',
                outputs=(("base", ""), ("tuned", '{"intent": "defect"}')),
            ),
        ),
    )


def training() -> Report:
    steps = list(range(1, 301))
    losses = [0.4 + 2.9 * math.exp(-step / 60) + 0.12 * math.sin(step * 1.7) for step in steps]
    checks = list(range(30, 301, 30))
    return Report(
        title="Training",
        verdict=Verdict(
            text="300 steps; the best validation loss, 0.52, was at step 270 and is what was kept.", good=True
        ),
        facts=(
            ("steps", 300),
            ("epochs", 5.0),
            ("time", "1:52"),
            ("tokens per second", 2310.4),
            ("peak memory", "1.2 GiB"),
        ),
        figures=(
            Figure(
                title="Loss",
                kind="lines",
                series=(
                    Series(
                        name="training",
                        x=steps,
                        y=losses,
                        low=[value - 0.15 for value in losses],
                        high=[value + 0.15 for value in losses],
                    ),
                    Series(name="validation", x=checks, y=[0.5 + 2.6 * math.exp(-step / 70) for step in checks]),
                ),
                x_label="step",
                y_label="nats per token",
            ),
        ),
    )


def page(good: bool | None = True) -> Page:
    first = evaluation()
    return Page(
        title="my-task",
        verdict=Verdict(text=first.verdict.text, good=good),
        facts=(("base", "metier-tiny"), ("run", "my-task-1a2b3c4d"), ("made", "full fine-tuning of 7,912,448 weights")),
        chapters=(
            Chapter(name="evaluation", question="Is it better than the base?", report=first),
            Chapter(
                name="parity",
                question="Is what was saved what was trained?",
                report=Report(title="Parity", verdict=Verdict(text="Every hop gives the same answers.", good=True)),
            ),
            Chapter(name="training", question="How did the training go?", report=training()),
            Chapter(
                name="data",
                question="What was it taught with?",
                report=Report(title="Data", verdict=Verdict(text="702 of 712 rows are used.", good=None)),
            ),
        ),
        command="metier run --project .",
    )
