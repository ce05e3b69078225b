"""Webhook endpoints as they come over the wire; no torch."""

from typing import Literal

from pydantic import Field, StrictBool

from metier.serve.wire.body import Body

Event = Literal["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]


class WebhookBody(Body):
    """POST /v1/webhook_endpoints."""

    name: str = Field(min_length=1, max_length=256)
    url: str = Field(min_length=1, max_length=2048)
    event_types: list[Event] = Field(min_length=1, max_length=16)


class WebhookChange(Body):
    """POST /v1/webhook_endpoints/ID: what is left out stays as it is."""

    name: str | None = Field(None, min_length=1, max_length=256)
    url: str | None = Field(None, min_length=1, max_length=2048)
    event_types: list[Event] | None = Field(None, min_length=1, max_length=16)


class RotateBody(Body):
    """POST /v1/webhook_endpoints/ID/rotate_secret."""

    keep_old_secret_active_for_24_hours: StrictBool = False


class TestBody(Body):
    """POST /v1/webhook_endpoints/ID/test."""

    event_type: Event
