"""Who asks, and who answers: what is known about a request before any model is opened; imports no torch."""

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from metier.serve.catalogue import Served
from metier.serve.keys import Caller
from metier.serve.rollouts.book import Rollout

_PARENT = 55


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A request. `parent`: of its span. `beside`: the request that is answered a second time, unseen."""

    id: str
    route: str
    caller: Caller
    user: str = ""
    parent: str = ""
    beside: str = ""

    @property
    def owner(self) -> str:
        """In whose turn it is answered."""
        return f"{self.caller.id}/{self.user}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Who answers: a model, and in a rollout for whom it does; `beside`: who answers too, unseen."""

    served: Served
    rollout: Rollout | None = None
    arm: str = ""
    beside: Served | None = None


def asking_of(request: Request, route: str, prefix: str, user: str | None) -> Asking:
    """Return what is known about a request that the gate has let in."""
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Caller)
    parent = request.headers.get("traceparent", "")
    return Asking(
        id=f"{prefix}-{secrets.token_hex(12)}", route=route, caller=caller, user=user or "",
        parent=parent if len(parent) == _PARENT else "",
    )  # fmt: skip


def conversation(user: str | None, turns: Callable[[], Sequence[Any]]) -> Callable[[], str]:
    """Return what tells what all requests of a user have in common; without one, of a conversation: how it begins.

    Args:
        user: as the request says; None or empty: it does not.
        turns: tells the first turns of the conversation up to and with the first of the user, as plain values.
    """

    def key() -> str:
        if user:
            return f"user {user}"
        return hashlib.sha256(json.dumps(list(turns()), sort_keys=True).encode()).hexdigest()

    return key
