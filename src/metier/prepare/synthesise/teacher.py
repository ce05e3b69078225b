"""The teacher: requests to an OpenAI-compatible endpoint, sent again after faults, counted as they are paid."""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

from metier.core import extras, seeds
from metier.core.errors import RunError, SettingsError
from metier.prepare.synthesise.settings import BudgetSettings, TeacherSettings

_AGAIN = {408, 409, 425, 429}
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
_CHARACTERS_PER_TOKEN = 3.5
"""An estimate on the safe side for prose, used before an answer says what it cost."""


class Ask(NamedTuple):
    """One question: the prompt, which of several answers to it (`sample`), and whether it is a judgement."""

    prompt: str
    name: str
    sample: int = 0
    judging: bool = False


class Reply(NamedTuple):
    """An answer and what it cost in tokens; `finish` is why it ended, in the endpoint's words."""

    text: str
    finish: str
    tokens_in: int
    tokens_out: int


class OverBudget(Exception):
    """The budget does not allow another request; stays inside this folder."""


class _Broken(Exception):
    """An answer that is worth asking for again."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


@dataclass(slots=True)
class Bill:
    """What has been spent, by this run and by earlier ones of the same plan; shared by all threads."""

    prices: TeacherSettings
    limits: BudgetSettings
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    _pending: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def money(self) -> float | None:
        """Return the cost so far, None when a price is unknown."""
        return cost(self.prices, self.tokens_in, self.tokens_out)

    def open(self, estimate: int) -> None:
        """Count a request that is about to be sent and will use about `estimate` tokens.

        Raises:
            OverBudget: it would go beyond the budget.
        """
        with self._lock:
            tokens = self.tokens_in + self.tokens_out + self._pending + estimate
            money = cost(self.prices, self.tokens_in, self.tokens_out + self._pending + estimate)
            limits = self.limits
            over = (limits.requests is not None and self.requests >= limits.requests) or (
                limits.tokens is not None and tokens > limits.tokens
            )
            if over or (limits.money is not None and money is not None and money > limits.money):
                raise OverBudget
            self.requests += 1
            self._pending += estimate

    def close(self, estimate: int, reply: Reply | None) -> None:
        """Count what a request did cost; None when nothing came back."""
        with self._lock:
            self._pending -= estimate
            if reply is not None:
                self.tokens_in += reply.tokens_in
                self.tokens_out += reply.tokens_out

    def remember(self, reply: Reply) -> None:
        """Count a request that an earlier run has paid."""
        with self._lock:
            self.requests += 1
            self.tokens_in += reply.tokens_in
            self.tokens_out += reply.tokens_out


def cost(prices: TeacherSettings, tokens_in: int, tokens_out: int) -> float | None:
    """Return what tokens cost, None when a price is unknown."""
    if prices.price_in is None or prices.price_out is None:
        return None
    return (tokens_in * prices.price_in + tokens_out * prices.price_out) / 1e6


def tokens_of(text: str) -> int:
    """Estimate the tokens of a text."""
    return int(len(text) / _CHARACTERS_PER_TOKEN) + 8


class Teacher:
    """A connection to the endpoint; a context manager, used by many threads.

    Args:
        settings: where and how.
        bill: is told of every request.
        sleep: waits between attempts.

    Raises:
        SettingsError: no endpoint is named, or its address is none.
    """

    def __init__(self, settings: TeacherSettings, bill: Bill, *, sleep: Callable[[float], None] = time.sleep) -> None:
        if settings.base_url is None or not settings.base_url.startswith(("http://", "https://")):
            raise SettingsError(
                f"prepare.further.synthesise.teacher.base_url: {settings.base_url or 'not set'}",
                "the address of an OpenAI-compatible endpoint",
                "for example --prepare.further.synthesise.teacher.base-url http://localhost:8000/v1",
            )
        self._settings = settings
        self._bill = bill
        self._sleep = sleep
        self._url = settings.base_url.rstrip("/") + "/chat/completions"
        self._library: Any = extras.load("httpx2", "synthesise")
        key = os.environ.get(settings.key_variable or "", "")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = self._library.Client(timeout=settings.timeout_seconds, headers=headers, follow_redirects=False)

    def __enter__(self) -> Self:
        """Open the connection."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._client.close()

    def answer(self, ask: Ask) -> Reply:
        """Send a question until it is answered.

        Raises:
            OverBudget: the budget does not allow the next attempt; nothing was sent.
            RunError: the endpoint refuses, or fails more often than `retries` allows.
        """
        body = self._body(ask)
        estimate = tokens_of(ask.prompt) + self._settings.max_tokens // 2
        for attempt in range(self._settings.retries + 1):
            self._bill.open(estimate)
            reply: Reply | None = None
            try:
                reply = self._send(body, ask)
                return reply
            except _Broken as error:
                if attempt == self._settings.retries:
                    raise RunError(
                        f"{self._url}: {error}, {attempt + 1} times in a row", "an answer",
                        "look at the endpoint; the same command goes on and pays nothing twice",
                    ) from error  # fmt: skip
                wait = _FIRST_WAIT * 2**attempt * (0.5 + seeds.unit("wait", ask.prompt, attempt))
                self._sleep(min(error.wait if error.wait is not None else wait, _LONGEST_WAIT))
            finally:
                self._bill.close(estimate, reply)
        raise AssertionError("every attempt returns or raises")

    def _body(self, ask: Ask) -> dict[str, Any]:
        return {
            "model": self._settings.model,
            "messages": [{"role": "user", "content": ask.prompt}],
            "temperature": 0.0 if ask.judging else self._settings.temperature,
            "max_tokens": self._settings.max_tokens,
            "seed": seeds.key("ask", ask.prompt, ask.sample) % 2**31,
        }

    def _send(self, body: Mapping[str, Any], ask: Ask) -> Reply:
        try:
            response = self._client.post(self._url, json=body)
        except self._library.TransportError as error:
            raise _Broken(f"{type(error).__name__} {error}".strip()) from error
        status = response.status_code
        if status in _AGAIN or status >= 500:
            raise _Broken(f"status {status}", _wait(response.headers.get("retry-after")))
        if status != 200:
            raise RunError(
                f"{self._url}: status {status}: {response.text[:200]}", "an answer",
                "check the key's variable, prepare.further.synthesise.teacher.model and the address",
            )  # fmt: skip
        return _reply(response.text, ask)


def _wait(text: str | None) -> float | None:
    """Read Retry-After: seconds, or a date."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _reply(text: str, ask: Ask) -> Reply:
    try:
        data = json.loads(text)
        choice = data["choices"][0]
        content, finish = choice["message"]["content"], choice.get("finish_reason") or "stop"
        usage = data.get("usage") or {}
        if not isinstance(content, str):
            raise TypeError("content is no text")
        sent = int(usage.get("prompt_tokens") or tokens_of(ask.prompt))
        received = int(usage.get("completion_tokens") or tokens_of(content))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _Broken(f"an answer that is not of the protocol ({error})") from error
    return Reply(content, str(finish), sent, received)
