"""Tell other servers what happened: endpoints, events signed by the Standard Webhooks scheme, tried until they arrive.

Deliveries wait in the database, so that none is lost with the process. No torch.
"""

import base64
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Collection
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from metier.core.errors import InputError, MetierError
from metier.serve import outbound
from metier.serve.faults import told
from metier.serve.keys import Caller
from metier.serve.refusal import Refusal, of_error
from metier.serve.tables import DELIVERIES, WEBHOOKS

LOG = logging.getLogger("metier.serve")
EVENTS = ("fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled")
"""What can be told."""

_PREFIX = "whsec_"
_DAY = 86_400
_WAITS = (5, 30, 120, 600, 3600, 6 * 3600, _DAY)
"""Seconds until the next try, after each that failed; after the last nobody tries again."""

_PAUSE_SECONDS = 0.5
_ANSWER_SECONDS = 10.0
_MOST_ENDPOINTS = 20


class Webhooks:
    """The endpoints of a project and what waits to be told to them.

    Args:
        database: where both are kept.
        private: hosts of the own network that may be called.
    """

    def __init__(self, database: sql.Engine, private: Collection[str]) -> None:
        self._database = database
        self._private = tuple(private)

    def create(self, caller: Caller, values: dict[str, Any]) -> dict[str, Any]:
        """Make an endpoint and return it with its secret, which is told only now.

        Raises:
            Refusal: a URL that is none or leads into a private network, or too many endpoints.
        """
        self._check(values["url"])
        if len(self._rows(caller, everybody=False)) >= _MOST_ENDPOINTS:
            raise Refusal(400, f"{_MOST_ENDPOINTS} endpoints; wanted: fewer", code="too_many")
        now, id, secret = int(time.time()), f"wh_{secrets.token_hex(12)}", _secret()
        row = {
            "id": id, "owner": caller.owner, "name": values["name"], "url": values["url"], "secret": secret,
            "events": json.dumps(values["event_types"]), "created": now, "updated": now,
        }  # fmt: skip
        with self._database.begin() as connection:
            connection.execute(WEBHOOKS.insert().values(**row))
        return self.get(caller, id) | {"signing_secret": secret}

    def get(self, caller: Caller, id: str) -> dict[str, Any]:
        """Return an endpoint as the API writes it.

        Raises:
            Refusal: there is none, or it is somebody else's.
        """
        return _written(self._row(caller, id))

    def all(self, caller: Caller) -> list[dict[str, Any]]:
        """Return the caller's endpoints, newest first."""
        return [_written(row) for row in self._rows(caller, everybody=caller.may("admin"))]

    def update(self, caller: Caller, id: str, values: dict[str, Any]) -> dict[str, Any]:
        """Change an endpoint. A new URL means a new secret too: nobody may point a secret of others at themselves.

        Raises:
            Refusal: as `create` and `get` do.
        """
        row = self._row(caller, id)
        changes: dict[str, Any] = {"updated": int(time.time())}
        if "url" in values and values["url"] != row.url:
            self._check(values["url"])
            changes |= {"url": values["url"], "secret": _secret(), "old_secret": None}
        if "name" in values:
            changes["name"] = values["name"]
        if "event_types" in values:
            changes["events"] = json.dumps(values["event_types"])
        self._change(id, changes)
        return self.get(caller, id)

    def rotate(self, caller: Caller, id: str, *, keep: bool) -> dict[str, Any]:
        """Give an endpoint a new secret and return it; `keep`: the old one signs too for 24 hours."""
        row, now, secret = self._row(caller, id), int(time.time()), _secret()
        self._change(
            id, {"secret": secret, "old_secret": row.secret if keep else None, "old_until": now + _DAY, "updated": now}
        )
        return self.get(caller, id) | {"signing_secret": secret}

    def remove(self, caller: Caller, id: str) -> dict[str, Any]:
        """Delete an endpoint and what waits for it; raises as `get` does."""
        self._row(caller, id)
        with self._database.begin() as connection:
            connection.execute(DELIVERIES.delete().where(DELIVERIES.c.webhook == id))
            connection.execute(WEBHOOKS.delete().where(WEBHOOKS.c.id == id))
        return {"id": id, "object": "webhook_endpoint.deleted", "deleted": True}

    def test(self, caller: Caller, id: str, event: str) -> dict[str, Any]:
        """Send a sample event now and return what the endpoint answered.

        Raises:
            Refusal: it cannot be reached.
        """
        row = self._row(caller, id)
        body = _event(event, f"ftjob-{'0' * 24}")
        try:
            status = self._send(row, f"msg_{secrets.token_hex(12)}", body)
        except MetierError as error:
            raise Refusal(400, f"url: {error}", param="url", code="unreachable") from error
        return {
            "object": "webhook_endpoint.test", "webhook_endpoint_id": id, "event_type": event, "status_code": status,
            "success": True,
        }  # fmt: skip

    def tell(self, connection: sql.Connection, owner: str, event: str, about: str) -> None:
        """Queue an event for every endpoint of an owner that wants it, together with the change that it tells of."""
        now = int(time.time())
        for row in connection.execute(sql.select(WEBHOOKS).where(WEBHOOKS.c.owner == owner)).all():
            if event in json.loads(row.events):
                values = {"webhook": row.id, "type": event, "body": _event(event, about), "created": now, "due": now}
                values |= {"id": f"msg_{secrets.token_hex(12)}", "state": "waiting", "tries": 0}
                connection.execute(DELIVERIES.insert().values(**values))

    def deliver(self, now: float) -> int:
        """Try everything that is due once; return how many arrived."""
        with self._database.connect() as connection:
            wanted = sql.select(DELIVERIES).where(DELIVERIES.c.state == "waiting", DELIVERIES.c.due <= int(now))
            due = connection.execute(wanted.order_by(DELIVERIES.c.created, DELIVERIES.c.id).limit(100)).all()
        return sum(self._try(delivery, now) for delivery in due)

    def _try(self, delivery: Any, now: float) -> bool:
        with self._database.connect() as connection:
            row = connection.execute(sql.select(WEBHOOKS).where(WEBHOOKS.c.id == delivery.webhook)).first()
        error = "its endpoint is gone"
        if row is not None:
            try:
                status = self._send(row, delivery.id, delivery.body)
                error = "" if 200 <= status < 300 else f"it answered {status}"
            except MetierError as fault:
                error = str(fault)
        tries = delivery.tries + 1
        over = row is None or tries > len(_WAITS)
        state = "arrived" if not error else "lost" if over else "waiting"
        due = int(now) + _WAITS[min(tries, len(_WAITS)) - 1]
        with self._database.begin() as connection:
            chosen = DELIVERIES.update().where(DELIVERIES.c.id == delivery.id)
            connection.execute(chosen.values(state=state, tries=tries, error=error[:500], due=due))
        if error:
            LOG.warning("webhook %s: %s (try %d)", delivery.webhook, error[:200], tries)
        return not error

    def _send(self, row: Any, id: str, body: str) -> int:
        target = outbound.target_of(row.url, self._private)
        address = outbound.address_of(target, self._private)
        stamp = int(time.time())
        old = row.old_secret if row.old_secret and (row.old_until or 0) > stamp else None
        signatures = [signature(secret, id, stamp, body) for secret in (row.secret, old) if secret]
        headers = {
            "content-type": "application/json", "user-agent": "metier", "webhook-id": id,
            "webhook-timestamp": str(stamp), "webhook-signature": " ".join(signatures),
        }  # fmt: skip
        return outbound.post(target, address, body.encode(), headers, seconds=_ANSWER_SECONDS)

    def _check(self, url: str) -> None:
        """Check that a URL may be called; whether its host answers is seen when something is sent."""
        try:
            outbound.address_of(outbound.target_of(url, self._private), self._private)
        except InputError as error:
            raise of_error(error, "url") from error
        except MetierError as error:
            raise Refusal(400, f"url: {error}", param="url", code="unreachable") from error

    def _change(self, id: str, changes: dict[str, Any]) -> None:
        with self._database.begin() as connection:
            connection.execute(WEBHOOKS.update().where(WEBHOOKS.c.id == id).values(**changes))

    def _rows(self, caller: Caller, *, everybody: bool) -> list[Any]:
        wanted = sql.select(WEBHOOKS).order_by(WEBHOOKS.c.created.desc(), WEBHOOKS.c.id)
        if not everybody:
            wanted = wanted.where(WEBHOOKS.c.owner == caller.owner)
        with self._database.connect() as connection:
            return list(connection.execute(wanted).all())

    def _row(self, caller: Caller, id: str) -> Any:
        with self._database.connect() as connection:
            row = connection.execute(sql.select(WEBHOOKS).where(WEBHOOKS.c.id == id)).first()
        if row is None or not (row.owner == caller.owner or caller.may("admin")):
            raise Refusal(404, f"no webhook endpoint {id[:80]!r}", param="webhook_endpoint_id", code="not_found")
        return row


class Courier(threading.Thread):
    """Delivers what is due until told to stop."""

    def __init__(self, webhooks: Webhooks) -> None:
        super().__init__(name="webhooks", daemon=True)
        self._webhooks = webhooks
        self._stopped = threading.Event()

    def run(self) -> None:
        """Work until told to stop."""
        while not self._stopped.wait(_PAUSE_SECONDS):
            try:
                self._webhooks.deliver(time.time())
            except SQLAlchemyError as error:
                LOG.error("webhooks could not be delivered: %s", told(error))

    def stop(self) -> None:
        """Stop; what waits goes on waiting in the database."""
        self._stopped.set()
        self.join(timeout=2 * _ANSWER_SECONDS)


def signature(secret: str, id: str, stamp: int, body: str) -> str:
    """Return the signature of a message: HMAC-SHA-256 over id, time and body (standardwebhooks.com)."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    made = hmac.new(key, f"{id}.{stamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(made).decode()}"


def _secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def _event(event: str, about: str) -> str:
    values = {"id": f"evt_{secrets.token_hex(12)}", "object": "event", "created_at": int(time.time())}
    return json.dumps(values | {"type": event, "data": {"id": about}})


def _written(row: Any) -> dict[str, Any]:
    return {
        "id": row.id, "object": "webhook_endpoint", "created_at": row.created, "updated_at": row.updated,
        "name": row.name, "url": row.url, "event_types": json.loads(row.events),
        "signing_secret_hint": f"{_PREFIX}…{row.secret[-4:]}",
    }  # fmt: skip
