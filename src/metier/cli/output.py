"""What a command prints on stdout: a page for people, or one JSON document for programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from metier.report import terminal
from metier.report.page import Page, as_plain

_PIPE_WIDTH = 100


def out() -> Console:
    """Return the console of results: stdout, wide enough for tables when it is a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def put_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(as_plain(value), indent=1, ensure_ascii=False, default=str))


def put_page(page: Page, facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a page for a person, or `facts` and the page as JSON for a program."""
    if as_json:
        put_json({**facts, "report": page})
    else:
        terminal.show(page, out())


def put_path(label: str, path: Path) -> None:
    """Print where a result stands, unbroken, so that it can be copied."""
    out().print(Text.assemble((label, "bold"), f"  {path.resolve()}"), soft_wrap=True)
