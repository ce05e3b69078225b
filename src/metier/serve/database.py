"""The server's tables: keys, traces, feedback, files, jobs."""

from pathlib import Path

import sqlalchemy as sql
from sqlalchemy import Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

from metier.core.database import open_database

META = MetaData()

KEYS = Table(
    "keys",
    META,
    Column("id", String(32), primary_key=True),
    Column("name", String(64)),
    Column("hash", String(64)),
    Column("scopes", String(64)),
    Column("created", Integer),
    Column("revoked", Integer),
)

TRACES = Table(
    "traces",
    META,
    Column("id", String(64), primary_key=True),
    Column("time", Float),
    Column("route", String(32)),
    Column("caller", String(32)),
    Column("user", String(256)),
    Column("model", String(256)),
    Column("base", String(256)),
    Column("digest", String(64)),
    Column("prompt_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("first_token_ms", Float),
    Column("total_ms", Float),
    Column("finish", String(16)),
    Column("prompt", Text),
    Column("answer", Text),
    Index("traces_time", "time"),
)

FEEDBACK = Table(
    "feedback",
    META,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("trace", String(128)),
    Column("time", Float),
    Column("caller", String(32)),
    Column("thumbs", String(4)),
    Column("score", Float),
    Column("correction", Text),
    Column("comment", Text),
)

FILES = Table(
    "files",
    META,
    Column("id", String(64), primary_key=True),
    Column("created", Integer),
    Column("filename", String(256)),
    Column("purpose", String(32)),
    Column("bytes", Integer),
    Column("owner", String(32)),
    Column("content", LargeBinary),
)

UPLOADS = Table(
    "uploads",
    META,
    Column("id", String(64), primary_key=True),
    Column("created", Integer),
    Column("filename", String(256)),
    Column("purpose", String(32)),
    Column("bytes", Integer),
    Column("owner", String(32)),
    Column("status", String(16)),
    Column("file", String(64)),
)

PARTS = Table(
    "parts",
    META,
    Column("id", String(64), primary_key=True),
    Column("upload", String(64)),
    Column("created", Integer),
    Column("content", LargeBinary),
)

JOBS = Table(
    "jobs",
    META,
    Column("id", String(64), primary_key=True),
    Column("created", Integer),
    Column("owner", String(32)),
    Column("status", String(20)),
    Column("asked", Text),
    Column("finished", Integer),
    Column("model", String(256)),
    Column("run", String(512)),
    Column("result_file", String(64)),
    Column("tokens", Integer),
    Column("error", Text),
)

EVENTS = Table(
    "events",
    META,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("job", String(64)),
    Column("created", Integer),
    Column("level", String(8)),
    Column("type", String(8)),
    Column("message", Text),
    Column("data", Text),
    Index("events_job", "job"),
)


def connect(store: Path) -> sql.Engine:
    """Open the database of a project and make the tables that are missing."""
    return open_database(store, META)
