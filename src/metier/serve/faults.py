"""What a log may say of an error: its kind and where it happened, never its words, which may be somebody's; no torch.

SQLAlchemy prints the values of a statement into its errors, PostgreSQL the row that broke a rule.
"""

import sqlite3
import traceback
from pathlib import Path

from sqlalchemy.exc import DBAPIError

_PACKAGE = str(Path(__file__).resolve().parent.parent)


def told(error: BaseException) -> str:
    """Return the kind of an error, the code that a database gave it, and the last of our own lines that it came by."""
    code = _code(error.orig) if isinstance(error, DBAPIError) else ""
    name = type(error).__name__ + (f" {code}" if code else "")
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_PACKAGE)]
    return f"{name} at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else name


def _code(error: BaseException | None) -> str:
    """Return what a fault is called: PostgreSQL's code; SQLite's words, which name tables and never values."""
    if isinstance(error, sqlite3.Error):
        return f"({error})"
    facts = error.args[0] if error is not None and error.args else None
    return str(facts.get("C", "")) if isinstance(facts, dict) else ""
