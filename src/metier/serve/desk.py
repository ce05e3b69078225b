"""What every route needs: the models, who may ask, what is recorded, what is counted."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request as HttpRequest
from prometheus_client import CollectorRegistry, Counter, Histogram

from metier.engine.request import End, Event, Piece, Request
from metier.serve.catalogue import Catalogue, Served
from metier.serve.jobs import Jobs
from metier.serve.keys import Caller, Keys
from metier.serve.pool import Open, Pool
from metier.serve.refusal import Refusal
from metier.serve.settings import ServeSettings
from metier.serve.traces import Recorder, Trace

Make = Callable[[Open], Awaitable[Sequence[Request]]]


class Meters:
    """What Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        label = {"labelnames": ("model", "route"), "registry": self.registry}
        self.requests = Counter(
            "metier_requests", "Requests by how they ended.", ("model", "route", "finish"), registry=self.registry
        )
        self.prompt_tokens = Counter("metier_prompt_tokens", "Tokens of prompts.", **label)
        self.cached_tokens = Counter("metier_cached_tokens", "Tokens of prompts that were not computed again.", **label)
        self.completion_tokens = Counter("metier_completion_tokens", "Tokens of answers.", **label)
        self.first_token = Histogram("metier_first_token_seconds", "Time to the first token.", **label)
        self.total = Histogram("metier_request_seconds", "Time to the end of the answer.", **label)


@dataclass(slots=True, kw_only=True, eq=False)
class Desk:
    """The server's parts."""

    settings: ServeSettings
    catalogue: Catalogue
    pool: Pool
    keys: Keys
    recorder: Recorder
    meters: Meters = field(default_factory=Meters)
    jobs: Jobs | None = None

    def find(self, name: str) -> Served:
        """Return the model of that name.

        Raises:
            Refusal: there is none.
        """
        served = self.catalogue.find(name)
        if served is None:
            raise Refusal(
                404, f"model {name[:80]!r} is not served here; GET /v1/models lists what is",
                param="model", code="model_not_found",
            )  # fmt: skip
        return served

    def writer(self, name: str) -> Served:
        """Return a model that writes text.

        Raises:
            Refusal: there is none of that name, or it has a head of classes.
        """
        served = self.find(name)
        if served.kind == "head":
            raise Refusal(400, f"model {name!r} has a head and writes no text; ask it at /v1/decisions", param="model")
        return served


def caller_of(request: HttpRequest) -> Caller:
    """Return who asks; the gate has let them in already."""
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Caller)
    return caller


def desk_of(request: HttpRequest) -> Desk:
    """Return the server's parts."""
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


class Generation:
    """One request on its way through a model, counted and recorded when it ends, however it ends."""

    def __init__(self, desk: Desk, caller: Caller, served: Served, *, id: str, route: str, user: str | None) -> None:
        self._desk = desk
        self._caller = caller
        self._served = served
        self._route = route
        self._user = user or ""
        self._started = time.perf_counter()
        self._first: float | None = None
        self._finish = "refused"
        self._texts: list[str] = []
        self._prompt: str | None = None
        self.id = id
        self.prompt_tokens = self.cached = self.completion_tokens = 0

    @property
    def served(self) -> Served:
        """The model that answers."""
        return self._served

    def finished(self) -> None:
        """Record an answer that needed no tokens."""
        self._finish = "stop"
        self._record()

    @property
    def usage(self) -> dict[str, Any]:
        """Return the usage as the API writes it."""
        return {
            "prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }  # fmt: skip

    async def events(self, make: Make) -> AsyncGenerator[tuple[int, Event]]:
        """Yield (number of the answer, event). Closing this early cancels the answers.

        Raises:
            Refusal: the request cannot be answered.
            MetierError: likewise.
        """
        try:
            async with self._desk.pool.open(self._served) as model:
                asked = await make(model)
                self.prompt_tokens = sum(len(ids) for ids in {id(each.ids): each.ids for each in asked}.values())
                if self._desk.settings.content:
                    self._prompt = model.text.renderer.tokenizer.decode(asked[0].ids, skip_special=False)
                async with aclosing(model.worker.answers(asked)) as events:
                    async for number, event in events:
                        self._count(event)
                        yield number, event
        finally:
            self._record()

    def _count(self, event: Event) -> None:
        if isinstance(event, Piece):
            self._finish = "cancelled"  # unless the end comes, too
            self.completion_tokens += 1
            if self._first is None:
                self._first = time.perf_counter()
        elif isinstance(event, End):
            self._finish = event.finish
            self.cached += event.cached
        if self._desk.settings.content:
            self._texts.append(event.text)

    def _record(self) -> None:
        meters, labels = self._desk.meters, (self._served.name, self._route)
        total = time.perf_counter() - self._started
        first = None if self._first is None else self._first - self._started
        meters.requests.labels(*labels, self._finish).inc()
        meters.prompt_tokens.labels(*labels).inc(self.prompt_tokens)
        meters.cached_tokens.labels(*labels).inc(self.cached)
        meters.completion_tokens.labels(*labels).inc(self.completion_tokens)
        meters.total.labels(*labels).observe(total)
        if first is not None:
            meters.first_token.labels(*labels).observe(first)
        if self._desk.settings.traces:
            self._desk.recorder.trace(self._trace(first, total))

    def _trace(self, first: float | None, total: float) -> Trace:
        return Trace(
            id=self.id, time=time.time(), route=self._route, caller=self._caller.id, user=self._user,
            model=self._served.name, base=self._served.base.name, digest=self._served.digest,
            prompt_tokens=self.prompt_tokens, cached_tokens=self.cached, completion_tokens=self.completion_tokens,
            first_token_ms=None if first is None else first * 1e3, total_ms=total * 1e3, finish=self._finish,
            prompt=self._prompt, answer="".join(self._texts) if self._desk.settings.content else None,
        )  # fmt: skip


def check_end(end: End) -> None:
    """Check that an answer ended as answers do.

    Raises:
        Refusal: its deadline passed, or something went wrong.
    """
    if end.finish == "deadline":
        raise Refusal(504, "the answer was not complete before its deadline", code="deadline")
    if end.finish in ("fault", "cancelled"):
        raise Refusal(500, end.found or "the answer was cancelled", code="fault")
