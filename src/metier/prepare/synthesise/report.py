"""What came of a synthesis, as a page: how many rows, what was dropped and why, what it cost, and some to read."""

from metier.core.report import Example, Report, Table, Verdict
from metier.core.types import PreferenceRow
from metier.prepare.synthesise.recipes import Made
from metier.prepare.synthesise.run import Estimate, Synthesis
from metier.prepare.synthesise.settings import SynthesiseSettings
from metier.prepare.synthesise.task import task_of

_EXAMPLES = 3


def report(result: Synthesis, settings: SynthesiseSettings) -> Report:
    """Tell what was made; `settings.output` is how the file is called."""
    kept = len(result.kept)
    text = f"{kept:,} rows of {result.asked:,} asked for are good enough" + (
        f"; {result.stopped}" if result.stopped else ""
    )
    dropped = tuple(
        (reason, count, f"{count / max(1, result.asked):.0%}") for reason, count in result.reasons.most_common()
    )
    bill = result.bill
    money = () if bill.money is None else (("cost at your prices", f"{bill.money:.4f}"),)
    return Report(
        title="Synthesis",
        verdict=Verdict(text=text, good=None if result.stopped or not kept else True),
        facts=(
            ("method", settings.method), ("model", settings.teacher.model), ("requests", bill.requests),
            ("tokens sent", bill.tokens_in), ("tokens received", bill.tokens_out), *money, ("file", settings.output),
            ("to train on it", f"add {settings.output} to data.train; it never comes into validation or test"),
        ),
        tables=(Table(title="Dropped", columns=("reason", "rows", "share"), rows=dropped),) if dropped else (),
        examples=tuple(_example(entry, settings.method) for entry in result.kept[:_EXAMPLES]),
        command="metier synthesise",
    )  # fmt: skip


def in_words(estimate: Estimate) -> str:
    """Say what a plan will cost."""
    price = "cost unknown: prepare.further.synthesise.teacher.price_in and price_out are not set"
    if estimate.money is not None:
        price = f"about {estimate.money:.{2 if estimate.money >= 1 else 4}f} at your prices"
    return (
        f"{estimate.rows:,} rows: about {estimate.requests:,} requests, {estimate.tokens_in:,} tokens sent, "
        f"{estimate.tokens_out:,} received; {price}"
    )


def _example(entry: Made, method: str) -> Example:
    row = entry.row
    assert row is not None
    if isinstance(row, PreferenceRow):
        outputs = (("rejected", row.rejected[-1].content),)
        asked, answer = row.prompt[-1].content, row.chosen[-1].content
    else:
        task, outputs = task_of(row), ()
        asked, answer = (task.input, task.answer) if task is not None else ("", "")
    return Example(source=", ".join(entry.origin), prompt=asked, reference=answer, outputs=outputs, note=method)
