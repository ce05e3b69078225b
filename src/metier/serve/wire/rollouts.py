"""Rollouts as they come over the wire; no torch."""

from typing import Literal

from pydantic import Field

from metier.serve.wire.body import Body


class RolloutBody(Body):
    """POST /v1/rollouts. What is left out is as serve.rollouts says; `alias` may be one of the registry, NAME@ALIAS."""

    alias: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}(@[a-z0-9][a-z0-9._-]{0,63})?$", max_length=64)
    stable: str = Field(min_length=1, max_length=256)
    candidate: str = Field(min_length=1, max_length=256)
    kind: Literal["split", "shadow", "canary"] | None = None
    share: float | None = Field(None, gt=0, le=1)


class EndBody(Body):
    """POST /v1/rollouts/ALIAS/end."""

    state: Literal["promoted", "rolled back", "stopped"]
