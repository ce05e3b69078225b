"""Rows as the model reads them, with what it learns in colour (or in brackets where there is no colour)."""

from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from metier.flow import Shown
from metier.report.cells import visible

_LEARNT = "bold green underline"
_OPEN, _CLOSE = "⟦", "⟧"


def put_painted(shown: Shown, console: Console) -> None:
    """Print painted rows and what the preflight found."""
    coloured = console.is_terminal and not console.no_color
    legend = Text("learnt", _LEARNT) if coloured else Text(f"{_OPEN}learnt{_CLOSE}")
    console.print()
    console.print(Text.assemble("The model is taught to write what is ", legend, "; the rest is what it reads before."))
    for source, pieces in shown.rows:
        console.print()
        console.print(Rule(Text(visible(source), "bold"), align="left", style="dim"))
        console.print(_painted(pieces, coloured=coloured), soft_wrap=True)
    console.print()
    console.print(Rule(Text("preflight", "bold"), align="left", style="dim"))
    for finding in shown.proof.findings:
        sign = Text("✓ ", "bold green") if finding.ok else Text("✗ ", "bold red")
        sign = Text("! ", "bold yellow") if finding.doubt else sign
        console.print(Text.assemble(sign, (f"{finding.name}: ", "bold"), visible(finding.detail)))


def as_dict(shown: Shown) -> dict[str, Any]:
    """Return painted rows and findings as plain values."""
    rows = [
        {"source": source, "pieces": [{"text": text, "learnt": learnt} for text, learnt in pieces]}
        for source, pieces in shown.rows
    ]
    return {"rows": rows, "findings": shown.proof.findings, "counts": dict(shown.proof.counts), "ok": shown.proof.ok}


def _painted(pieces: tuple[tuple[str, bool], ...], *, coloured: bool) -> Text:
    text = Text()
    for piece, learnt in pieces:
        shown = visible(piece)
        if learnt and not coloured:
            shown = f"{_OPEN}{shown}{_CLOSE}"
        text.append(shown, _LEARNT if learnt else "dim")
    return text
