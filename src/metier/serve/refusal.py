"""Errors in the shape that OpenAI's clients read; imports no torch."""

from collections.abc import Mapping
from typing import Any

from metier.core.errors import BusyError, InputError, MetierError, SignatureError

RETRY_SECONDS = 1


class Refusal(Exception):
    """A request is not answered. Says what was found, what was wanted; never what only the log should hold.

    Args:
        status: of HTTP.
        message: in words.
        param: the parameter at fault.
        code: for programs.
        retry_seconds: when it is worth asking again.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None,
        retry_seconds: int = RETRY_SECONDS,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.retry_seconds = retry_seconds

    def body(self) -> dict[str, Any]:
        """Return what the client reads."""
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> Mapping[str, str]:
        """Return the headers that go with it."""
        return {"Retry-After": str(self.retry_seconds)} if self.status in (429, 503) else {}


def of_error(error: MetierError, param: str | None = None) -> Refusal:
    """Return the refusal that an error of ours becomes."""
    if isinstance(error, BusyError):
        return Refusal(429, str(error), code="busy")
    if isinstance(error, InputError):
        return Refusal(400, str(error), param=param, code="invalid_value")
    if isinstance(error, SignatureError):
        return Refusal(409, str(error), param="model", code="not_as_signed")
    return Refusal(500, "the server could not do this; its log says why", code="fault")


def unsupported(param: str, why: str) -> Refusal:
    """Return the refusal of a parameter that would have to be ignored."""
    return Refusal(400, f"'{param}' is not supported here: {why}", param=param, code="unsupported_parameter")
