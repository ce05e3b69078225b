"""The rollouts of a project: kept in the database, read from memory when a request comes; imports no torch."""

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sql

from metier.core.errors import InputError
from metier.serve.rollouts import registered
from metier.serve.rollouts.alike import require_alike
from metier.serve.rollouts.checks import Check, check_of
from metier.serve.rollouts.rules import CANDIDATE, STABLE, Count, Rules, rules_of
from metier.serve.settings import RolloutSettings
from metier.serve.tables import FEEDBACK, ROLLOUTS, TRACES

Kind = Literal["split", "shadow", "canary"]
State = Literal["running", "promoted", "rolled back", "stopped"]
ENDS: dict[str, State] = {"promote": "promoted", "back": "rolled back", "stop": "stopped"}
"""How somebody ends a rollout -> what it is then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Two models behind one name. `share`: of the requests that the candidate answers, or answers beside (shadow)."""

    id: str
    alias: str
    kind: Kind
    stable: str
    candidate: str
    share: float
    step: int = 0
    state: State = "running"
    rules: Rules = field(default_factory=Rules)
    check: Check | None = None
    reason: str = ""
    created: int = 0
    changed: int = 0

    def arm(self, key: str) -> str:
        """Return who answers a user or conversation: always the same, also when the share grows."""
        if self.state != "running":
            return CANDIDATE if self.state == "promoted" else STABLE
        return CANDIDATE if self.kind != "shadow" and place(self.id, key) < self.share else STABLE

    def is_shadowed(self, key: str) -> bool:
        """Tell whether the candidate answers beside."""
        return self.state == "running" and self.kind == "shadow" and place(self.id, key) < self.share

    def model(self, arm: str) -> str:
        """Return the name of the model of an arm."""
        return self.stable if arm == STABLE else self.candidate


def wanted_of(settings: RolloutSettings, alias: str, models: tuple[str, str]) -> Rollout:
    """Return a rollout as the settings say it, not yet started.

    Args:
        settings: of rollouts.
        alias: the name that people use.
        models: what serves now, and the candidate.

    Raises:
        InputError: the check is none.
    """
    stable, candidate = models
    return Rollout(
        id="", alias=alias, kind=settings.kind, stable=stable, candidate=candidate, rules=rules_of(settings),
        share=settings.steps[0] if settings.kind == "canary" else settings.share,
        check=check_of(settings.check) if settings.check else None,
    )  # fmt: skip


def place(id: str, key: str) -> float:
    """Return where a key stands among all, evenly in [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"{id}/{key}".encode()).digest()[:8], "big") / 2**64


class Rollouts:
    """The rollouts of a project.

    Args:
        database: where they are kept.
        store: the project's `.metier`, whose registry's aliases they may be of.
    """

    def __init__(self, database: sql.Engine, store: Path) -> None:
        self._database = database
        self._store = store
        self._latest: Mapping[str, Rollout] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read anew what other processes may have changed."""
        self._latest = {rollout.alias: rollout for rollout in reversed(self.all())}

    def of(self, alias: str) -> Rollout | None:
        """Return the last rollout of a name, from memory; None: there is none."""
        return self._latest.get(alias)

    def aliases(self) -> list[Rollout]:
        """Return the last rollout of every name, from memory."""
        return list(self._latest.values())

    def answered_by(self, model: str) -> str | None:
        """Return a name that a model answers for, or may answer for while its rollout runs; None: none."""
        self.refresh()
        for rollout in self.aliases():
            running = rollout.state == "running"
            if model in ((rollout.stable, rollout.candidate) if running else (rollout.model(rollout.arm("")),)):
                return rollout.alias
        return None

    def all(self) -> list[Rollout]:
        """Return every rollout there was, newest first."""
        with self._database.connect() as connection:
            rows = connection.execute(sql.select(ROLLOUTS).order_by(ROLLOUTS.c.number.desc())).all()
        return [_read(row) for row in rows]

    def start(self, wanted: Rollout) -> Rollout:
        """Start a rollout and return it.

        Raises:
            InputError: one is running for this name already, the models are one and the same, or cannot be asked the
                same, or an alias of the registry means something else.
            SignatureError: the candidate for such an alias is not what was signed.
        """
        if wanted.stable == wanted.candidate:
            raise InputError(f"rollout {wanted.alias}: {wanted.stable} against itself", "two models")
        if registered.is_registered(wanted.alias):
            registered.require_meant(self._store, _contest(wanted))
        require_alike(self._database, self._store, (wanted.stable, wanted.candidate))
        self.refresh()
        before = self.of(wanted.alias)
        if before is not None and before.state == "running":
            raise InputError(
                f"rollout {wanted.alias}: one is running", "one at a time",
                f"end it first: metier rollout stop {wanted.alias}",
            )  # fmt: skip
        now = int(time.time())
        values = {
            "id": f"rollout-{secrets.token_hex(8)}", "alias": wanted.alias, "kind": wanted.kind,
            "stable": wanted.stable, "candidate": wanted.candidate, "share": wanted.share, "step": 0,
            "state": "running", "rules": json.dumps(asdict(wanted.rules)), "reason": "", "created": now,
            "check": json.dumps(asdict(wanted.check)) if wanted.check is not None else None, "changed": now,
        }  # fmt: skip
        with self._database.begin() as connection:
            connection.execute(ROLLOUTS.insert().values(**values))
        self.refresh()
        started = self.of(wanted.alias)
        assert started is not None
        return started

    def end(self, rollout: Rollout, state: State, reason: str) -> bool:
        """End a rollout that is running; tell whether it was. An alias of the registry then means who won."""
        if state == "promoted" and self.is_moved(rollout):
            state, reason = "stopped", f"{rollout.alias} was moved by somebody"
        changed = self._change(rollout, state=state, reason=reason)
        if changed and state == "promoted":
            self.settle(rollout, reason)
        return changed

    def settle(self, rollout: Rollout, reason: str) -> None:
        """Let an alias of the registry mean who was promoted, once; also after a process that died in between."""
        if registered.is_registered(rollout.alias):
            registered.promote(self._store, _contest(rollout), rollout=rollout.id, reason=reason)

    def is_moved(self, rollout: Rollout) -> bool:
        """Tell whether an alias of the registry means another version by now than what served when it started."""
        if not registered.is_registered(rollout.alias):
            return False
        return registered.means(self._store, _contest(rollout)) != _contest(rollout).stable

    def step(self, rollout: Rollout, reason: str) -> bool:
        """Give a candidate its next share of the traffic; tell whether it was still at the step before."""
        number = rollout.step + 1
        return self._change(rollout, step=number, share=rollout.rules.steps[number], reason=reason)

    def _change(self, rollout: Rollout, **values: Any) -> bool:
        with self._database.begin() as connection:
            chosen = ROLLOUTS.update().where(
                ROLLOUTS.c.id == rollout.id, ROLLOUTS.c.state == "running", ROLLOUTS.c.step == rollout.step
            )
            changed = connection.execute(chosen.values(changed=int(time.time()), **values)).rowcount > 0
        self.refresh()
        return changed

    def counts(self, id: str) -> dict[str, dict[str, Count]]:
        """Return what answers were worth so far: by feedback, by the check, and whether they were given at all.

        Feedback counts when it comes from who asked, the last word of each; a score from 0.5 on is good.
        """
        judging = sql.or_(*(FEEDBACK.c[name].is_not(None) for name in ("thumbs", "score", "correction")))
        last = sql.select(sql.func.max(FEEDBACK.c.number)).where(judging).group_by(FEEDBACK.c.trace, FEEDBACK.c.caller)
        liked = sql.case(
            (FEEDBACK.c.thumbs == "up", 1), (FEEDBACK.c.thumbs == "down", 0), (FEEDBACK.c.score >= 0.5, 1),
            (FEEDBACK.c.score.is_not(None), 0), (FEEDBACK.c.correction.is_not(None), 0), else_=None,
        )  # fmt: skip
        told = sql.and_(FEEDBACK.c.trace == TRACES.c.id, FEEDBACK.c.caller == TRACES.c.caller)
        judged = TRACES.join(FEEDBACK, told)
        given = sql.case((TRACES.c.finish.in_(("fault", "deadline")), 0), else_=1)
        ended = TRACES.c.finish.in_(("stop", "length", "fault", "deadline"))
        found: dict[str, dict[str, Count]] = {}
        for name, value, source, rows in (
            ("feedback", liked, judged, FEEDBACK.c.number.in_(last)),
            ("check", TRACES.c.passed, TRACES, TRACES.c.passed.is_not(None)),
            ("answered", given, TRACES, ended),
        ):
            wanted = sql.select(TRACES.c.arm, sql.func.sum(value), sql.func.count(value)).select_from(source)
            wanted = wanted.where(TRACES.c.rollout == id, rows).group_by(TRACES.c.arm)
            with self._database.connect() as connection:
                arms = {arm: (int(good or 0), int(total)) for arm, good, total in connection.execute(wanted).all()}
            found[name] = {arm: count for arm, count in arms.items() if count[1]}
        return found

    def agreement(self, id: str) -> Count:
        """Return how many answers beside were those that were given, and how many answers beside there were."""
        wanted = sql.select(sql.func.sum(TRACES.c.agrees), sql.func.count(TRACES.c.agrees)).where(
            TRACES.c.rollout == id
        )
        with self._database.connect() as connection:
            good, total = connection.execute(wanted).one()
        return int(good or 0), int(total)


def _contest(rollout: Rollout) -> registered.Contest:
    return registered.contest(rollout.alias, rollout.stable, rollout.candidate)


def _read(row: Any) -> Rollout:
    rules = json.loads(row.rules)
    return Rollout(
        id=row.id, alias=row.alias, kind=row.kind, stable=row.stable, candidate=row.candidate, share=row.share,
        step=row.step, state=row.state, rules=Rules(**rules | {"steps": tuple(rules["steps"])}), reason=row.reason,
        check=Check(**json.loads(row.check)) if row.check else None, created=row.created, changed=row.changed,
    )  # fmt: skip
