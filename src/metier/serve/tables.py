"""The server's tables: keys, traces, feedback, files, jobs, rollouts, webhooks, the audit log; imports no torch."""

from sqlalchemy import DDL, BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text, event
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

META = MetaData()


class Words(TypeDecorator[str]):
    """Text that somebody may have sent: PostgreSQL takes no NUL, and would refuse all rows beside one that holds it."""

    impl = Text
    cache_ok = True

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.size = size

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Return the text of a length, or of any."""
        return dialect.type_descriptor(Text() if self.size is None else String(self.size))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Write a NUL as the sign for what could not be read."""
        return value.replace("\x00", "\ufffd") if value is not None else None


def _table(name: str, *columns: Column | Index, number: bool = False, size: int = 64) -> Table:
    """Return a table with an `id` of some characters, or with a `number` that counts up."""
    first = Column("number", Integer, primary_key=True) if number else Column("id", Words(size), primary_key=True)
    return Table(name, META, first, *columns)


def _texts(size: int, *names: str) -> list[Column]:
    """Return columns of short texts."""
    return _columns(Words(size), *names)


def _columns(kind: TypeEngine, *names: str) -> list[Column]:
    return [Column(name, kind) for name in names]


_INT, _FLOAT, _LONG = Integer(), Float(), Words()

KEYS = _table(
    "keys",
    *_texts(64, "name", "tenant", "hash", "scopes"),
    *_columns(_INT, "created", "revoked", "requests_per_minute", "tokens_per_minute"),
    size=32,
)

TRACES = _table(
    "traces",
    *_texts(32, "route", "caller"),
    *_texts(256, "user", "asked", "model", "base"),
    *_texts(64, "digest", "rollout", "beside"),
    *_texts(16, "finish", "arm"),
    *_columns(_INT, "prompt_tokens", "cached_tokens", "completion_tokens", "passed", "agrees"),
    *_columns(_FLOAT, "time", "first_token_ms", "total_ms", "cost"),
    *_columns(_LONG, "prompt", "answer"),
    Index("traces_time", "time"),
    Index("traces_rollout", "rollout", "arm"),
)

FEEDBACK = _table(
    "feedback",
    *_texts(128, "trace"),
    *_texts(32, "caller"),
    *_texts(4, "thumbs"),
    *_columns(_FLOAT, "time", "score"),
    *_columns(_LONG, "correction", "comment"),
    number=True,
)

FILES = _table(
    "files",
    *_texts(256, "filename"),
    *_texts(64, "purpose", "owner"),
    *_columns(_INT, "created", "bytes"),
    Column("content", LargeBinary),
)

UPLOADS = _table(
    "uploads",
    *_texts(256, "filename"),
    *_texts(64, "purpose", "owner", "status", "file"),
    *_columns(_INT, "created", "bytes"),
)

PARTS = _table("parts", *_texts(64, "upload"), Column("created", Integer), Column("content", LargeBinary))

JOBS = _table(
    "jobs",
    *_texts(64, "owner", "status", "result_file"),
    *_texts(256, "model"),
    *_texts(512, "run"),
    *_columns(_INT, "created", "finished", "tokens"),
    *_columns(_LONG, "asked", "error", "epochs"),
    Column("queued_ns", BigInteger),  # many are made within one second, and wait in the order in which they came
)

DELETED = _table("deleted_models", *_texts(64, "job"), *_columns(_INT, "created"), size=256)
"""Names of models of jobs that were deleted: not served from then on, whatever is still on the disk."""

EVENTS = _table(
    "events",
    *_texts(64, "job"),
    *_texts(8, "level", "type"),
    *_columns(_INT, "created"),
    *_columns(_LONG, "message", "data"),
    Index("events_job", "job"),
    number=True,
)

WEBHOOKS = _table(
    "webhooks",
    *_texts(64, "owner", "secret", "old_secret"),
    *_texts(256, "name"),
    *_texts(2048, "url"),
    *_columns(_LONG, "events"),
    *_columns(_INT, "created", "updated", "old_until"),
)

DELIVERIES = _table(
    "deliveries",
    *_texts(64, "webhook", "type", "state"),
    *_columns(_LONG, "body", "error"),
    *_columns(_INT, "created", "due", "tries"),
    Index("deliveries_due", "state", "due"),
)

ROLLOUTS = _table(
    "rollouts",
    *_texts(64, "id", "alias", "kind", "state"),
    *_texts(256, "stable", "candidate"),
    *_columns(_FLOAT, "share"),
    *_columns(_INT, "step", "created", "changed"),
    *_columns(_LONG, "rules", "check", "reason"),
    number=True,
)

AUDIT = _table(
    "audit",
    Column("milliseconds", BigInteger),
    *_texts(64, "who", "previous", "digest"),
    *_columns(_LONG, "action", "facts"),
    number=True,
)

_NEVER = "the audit log is append-only"
_LITE = "CREATE TRIGGER audit_no_{0} BEFORE {0} ON audit BEGIN SELECT RAISE(ABORT, '" + _NEVER + "'); END"
_REFUSE = (
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$body$ BEGIN RAISE EXCEPTION '" + _NEVER + "'; END $body$"
)
_GUARD = (
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
)

for _dialect, _statements in (
    ("sqlite", (_LITE.format("UPDATE"), _LITE.format("DELETE"))),
    ("postgresql", (_REFUSE, _GUARD)),
):
    for _statement in _statements:
        event.listen(AUDIT, "after_create", DDL(_statement).execute_if(dialect=_dialect))
