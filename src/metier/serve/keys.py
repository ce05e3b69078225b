"""API keys: made once, shown once, kept as a hash, each for certain scopes; imports no torch."""

import hashlib
import hmac
import math
import re
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace

import sqlalchemy as sql

from metier.core.errors import InputError
from metier.serve.tables import KEYS

SCOPES = ("infer", "train", "admin")
"""What a key may do: ask models; upload files and train; everything, other people's files and jobs too."""

_PREFIX = "mk-"
_FRESH_SECONDS = 2.0
_OPEN_SECONDS = 0.25
"""How long nobody looks whether there is a key by now: shorter, for until then everybody may do everything."""

_TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_LONGEST = 64
"""Characters of a key's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. Without any key at all everybody on this machine may do everything.

    `tenant`: whose files and jobs it sees, together with other keys of that tenant; empty: only its own.
    `requests_per_minute`, `tokens_per_minute`: what it may ask for; None: what the settings say for every key.
    """

    id: str
    scopes: frozenset[str]
    tenant: str = ""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def owner(self) -> str:
        """Whose files and jobs these are: the tenant's, or this key's alone."""
        return f"tenant:{self.tenant}" if self.tenant else self.id

    def may(self, scope: str) -> bool:
        """Tell whether a scope is granted."""
        return scope in self.scopes or "admin" in self.scopes


OPEN = Caller(id="local", scopes=frozenset(SCOPES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a key may see and ask for; as in `Caller`."""

    tenant: str = ""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What was in the database at a moment of the clock: callers by the hash of their key; whether there is no key."""

    at: float
    callers: Mapping[str, Caller]
    is_open: bool


class Keys:
    """The keys of a project."""

    def __init__(self, database: sql.Engine) -> None:
        self._database = database
        self._seen = _Seen(at=-math.inf, callers={}, is_open=False)

    def make(self, name: str, scopes: Collection[str], allowance: Allowance = Allowance()) -> str:
        """Make a key and return it; only its hash is kept.

        Raises:
            InputError: a scope that is none, or a name or tenant that cannot be called so.
        """
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise InputError(f"scope {', '.join(unknown) or 'none'}", f"some of {', '.join(SCOPES)}")
        if not 0 < len(name) <= _LONGEST or not name.isprintable():  # a name that is cut could not be revoked
            raise InputError(f"key {name[:80]!r}", f"a name of 1 to {_LONGEST} characters that can be seen")
        if allowance.tenant and not _TENANT.fullmatch(allowance.tenant):
            raise InputError(f"tenant {allowance.tenant[:80]!r}", "small letters, digits, '.', '_' and '-', at most 40")
        key = _PREFIX + secrets.token_urlsafe(32)
        values = {
            "id": secrets.token_hex(8), "name": name, "hash": _hash(key), "scopes": ",".join(sorted(set(scopes))),
            "created": int(time.time()), "revoked": 0, **asdict(allowance),
        }  # fmt: skip
        with self._database.begin() as connection:
            connection.execute(KEYS.insert().values(**values))
        self._seen = replace(self._seen, at=-math.inf)
        return key

    def revoke(self, name: str) -> int:
        """Let all keys of a name open nothing any more; return how many there were."""
        with self._database.begin() as connection:
            chosen = KEYS.update().where(KEYS.c.name == name, KEYS.c.revoked == 0).values(revoked=int(time.time()))
            return connection.execute(chosen).rowcount

    def is_fresh(self) -> bool:
        """Tell whether `caller` answers from memory; otherwise it reads the database."""
        return time.monotonic() - self._seen.at <= (_FRESH_SECONDS if self._seen.callers else _OPEN_SECONDS)

    def any(self) -> bool:
        """Tell whether a key is needed: whether one was ever made."""
        with self._database.connect() as connection:
            return connection.execute(sql.select(KEYS.c.id).limit(1)).first() is not None

    def caller(self, header: str | None) -> Caller | None:
        """Return who sends `Authorization: Bearer KEY`; None: nobody that is known."""
        if not self.is_fresh():
            self._seen = self._load()
        seen = self._seen
        if seen.is_open:
            return OPEN
        kind, _, key = (header or "").partition(" ")
        if kind.lower() != "bearer" or not key:
            return None
        wanted = _hash(key.strip())
        return next((caller for known, caller in seen.callers.items() if hmac.compare_digest(known, wanted)), None)

    def _load(self) -> "_Seen":
        now = time.monotonic()
        with self._database.connect() as connection:
            rows = connection.execute(sql.select(KEYS)).all()
        callers = {
            row.hash: Caller(
                id=row.id, scopes=frozenset(row.scopes.split(",")), tenant=row.tenant or "",
                requests_per_minute=row.requests_per_minute, tokens_per_minute=row.tokens_per_minute,
            )
            for row in rows
            if not row.revoked
        }  # fmt: skip
        return _Seen(at=now, callers=callers, is_open=not rows)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
