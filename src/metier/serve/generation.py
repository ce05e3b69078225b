"""One request on its way through a model: set aside, counted and recorded, however it ends."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

from metier.core.errors import MetierError
from metier.engine.request import End, Event, Piece, Request
from metier.serve.asking import Asking, Chosen
from metier.serve.catalogue import Served
from metier.serve.desk import Desk
from metier.serve.keys import Caller
from metier.serve.pool import Open
from metier.serve.refusal import Refusal, of_error
from metier.serve.rollouts.rules import SHADOW
from metier.serve.traces import Trace
from metier.serve.worker import Task
from metier.text import thought

Make = Callable[[Open], Awaitable[Sequence[Request]]]
_WELL = ("stop", "length")
_NOBODY = Caller(id="rollouts", scopes=frozenset())
_UNSAID = 1 << 24
"""From here on a number of tokens says no more than: as many as there is room for."""


class Generation:
    """One request, from the moment when it is known who answers it.

    Args:
        desk: the server's parts.
        asking: who asks, and how.
        chosen: who answers.
        reference: the answer beside which this one is given; None: this is the one that is heard.
    """

    def __init__(self, desk: Desk, asking: Asking, chosen: Chosen, *, reference: str | None = None) -> None:
        self._desk = desk
        self._asking = asking
        self._chosen = chosen
        self._reference = reference
        self._started = time.perf_counter()
        self._first: float | None = None
        self._finish = "refused"
        self._texts: list[str] = []
        self._writes = False
        self._decided: tuple[str, ...] = ()
        self._agrees: bool | None = None
        self._prompt: str | None = None
        self._reserved = 0
        self._keeps = desk.recorder.keeps(asking.beside or asking.id)
        self._reads = self._keeps or chosen.rollout is not None
        self.ended: Callable[[str], None] | None = None
        """Is told the answer when it has ended well."""
        self.prompt_tokens = self.cached = self.completion_tokens = 0

    @property
    def id(self) -> str:
        """The id of the request."""
        return self._asking.id

    @property
    def owner(self) -> str:
        """In whose turn it is answered."""
        return self._asking.owner

    @property
    def served(self) -> Served:
        """Which model answers."""
        return self._chosen.served

    @property
    def usage(self) -> dict[str, Any]:
        """Return the usage as the API writes it."""
        return {
            "prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }  # fmt: skip

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Open]:
        """Yield the model; what was done with it is recorded when the block ends.

        Raises:
            Refusal: the request cannot be answered.
            MetierError: likewise.
        """
        try:
            async with self._desk.pool.open(self._chosen.served) as model:
                yield model
            if self._finish == "refused":
                self._finish = "stop"
        except (Refusal, MetierError) as error:
            self._finish = _finish_of(error if isinstance(error, Refusal) else of_error(error))
            raise
        except asyncio.CancelledError:
            self._finish = "cancelled"
            raise
        finally:
            self._record()

    def reserve(self, tokens: int) -> None:
        """Set tokens aside for work that writes nothing."""
        self._desk.limiter.reserve(self._asking.caller, tokens)
        self._reserved = self.prompt_tokens = tokens

    def decided(self, values: Sequence[str]) -> None:
        """Say what was decided, question by question: what a rollout checks where nothing is written."""
        self._decided = tuple(values)

    def compared(self, is_same: bool) -> None:
        """Say whether vectors are those beside which they were made."""
        self._agrees = is_same

    async def computed(self, model: Open, tasks: Sequence[Task]) -> list[Any]:
        """Return what tasks return that write nothing, in the turn of who asks and before the deadline.

        Raises:
            Refusal: the deadline has passed.
            BusyError: too many wait already.
        """
        left = self._desk.settings.limits.deadline_seconds - (time.perf_counter() - self._started)
        try:
            async with asyncio.timeout(left):
                return await model.worker.computed(tasks, self.owner)
        except TimeoutError as error:
            raise _overdue() from error

    async def events(self, make: Make) -> AsyncGenerator[tuple[int, Event]]:
        """Yield (number of the answer, event). Closing this early cancels the answers.

        Raises:
            Refusal: the request cannot be answered.
            MetierError: likewise.
        """
        async with self.opened() as model:
            self._writes = True
            async with aclosing(self.answers(model, await make(model))) as events:
                async for number, event in events:
                    yield number, event

    async def answers(self, model: Open, asked: Sequence[Request]) -> AsyncGenerator[tuple[int, Event]]:
        """Yield (number of the answer, event) inside of `opened`. Closing this early cancels the answers.

        Raises:
            Refusal: the request cannot be answered.
            MetierError: likewise.
        """
        self._reserve(asked)
        if self._keeps:
            self._prompt = model.text.renderer.tokenizer.decode(asked[0].ids, skip_special=False)
        async with aclosing(model.worker.answers(asked)) as events:
            async for number, event in events:
                self._count(number, event)
                yield number, event

    def _reserve(self, asked: Sequence[Request]) -> None:
        """Set the tokens of the prompt aside, and those that the request says it wants at most."""
        self.prompt_tokens = sum(len(ids) for ids in {id(each.ids): each.ids for each in asked}.values())
        wanted = self.prompt_tokens + sum(each.most_tokens for each in asked if each.most_tokens < _UNSAID)
        self._desk.limiter.reserve(self._asking.caller, wanted)
        self._reserved = wanted

    def _count(self, number: int, event: Event) -> None:
        if isinstance(event, Piece):
            self._finish = "cancelled"  # unless the end comes, too
            self.completion_tokens += 1
            if self._first is None:
                self._first = time.perf_counter()
        elif isinstance(event, End):
            self._finish = event.finish
            self.cached += event.cached
        if self._reads and number == 0:
            self._texts.append(event.text)

    def _record(self) -> None:
        desk, total = self._desk, time.perf_counter() - self._started
        used = self.prompt_tokens + self.completion_tokens if self._reserved else 0
        desk.limiter.settle(self._asking.caller, reserved=self._reserved, used=used)
        said = self._said() if self._reads else ()
        trace = self._trace(total, "\n".join(said) if said else None)
        desk.meters.count(trace)
        if desk.settings.record.traces or desk.settings.record.spans:
            rollout = self._chosen.rollout
            check = rollout.check if rollout is not None and trace.finish in _WELL else None
            if check is not None and check.kind == "json" and not self._writes:
                check = None  # a decision has a form of its own
            desk.recorder.trace(trace, check=check, said=said, parent=self._asking.parent)
        if self.ended is not None and trace.finish in _WELL:
            self.ended(trace.answer or "")

    def _said(self) -> tuple[str, ...]:
        """Return what was written, or decided question by question; of vectors nothing."""
        return (thought.spoken("".join(self._texts)),) if self._writes else self._decided

    def _trace(self, total: float, answer: str | None) -> Trace:
        served, asking, chosen = self._chosen.served, self._asking, self._chosen
        first = None if self._first is None else (self._first - self._started) * 1e3
        return Trace(
            id=asking.id, time=time.time(), route=asking.route, caller=asking.caller.id, user=asking.user,
            asked=chosen.rollout.alias if chosen.rollout else served.name, model=served.name, base=served.base.name,
            digest=served.digest, prompt_tokens=self.prompt_tokens, cached_tokens=self.cached,
            completion_tokens=self.completion_tokens, first_token_ms=first, total_ms=total * 1e3, finish=self._finish,
            cost=self._desk.settings.record.prices.of(self.prompt_tokens, self.cached, self.completion_tokens),
            rollout=chosen.rollout.id if chosen.rollout else "", arm=chosen.arm,
            beside=asking.beside, agrees=self._agreement(answer), prompt=self._prompt, answer=answer,
        )  # fmt: skip

    def _agreement(self, answer: str | None) -> int | None:
        if self._agrees is not None:
            return int(self._agrees)
        if self._reference is None or answer is None or self._finish not in _WELL:
            return None
        return int(answer == self._reference)


def beside(
    desk: Desk, asking: Asking, chosen: Chosen, write: Callable[[Generation], Awaitable[object]]
) -> Callable[[str], None] | None:
    """Return what lets the candidate of a shadow rollout answer too, once the answer that is heard has ended.

    Args:
        desk: the server's parts.
        asking: the request.
        chosen: who answers it.
        write: answers the same request by another generation.
    """
    if chosen.beside is None:
        return None
    other = replace(chosen, served=chosen.beside, arm=SHADOW, beside=None)
    unseen = Asking(id=f"{asking.id}-beside", route=asking.route, caller=_NOBODY, user=asking.user, beside=asking.id)

    def answered(text: str) -> None:
        desk.shadows.add(lambda: write(Generation(desk, unseen, other, reference=text)))

    return answered


def _overdue() -> Refusal:
    return Refusal(504, "the answer was not complete before its deadline", code="deadline")


def _finish_of(refusal: Refusal) -> str:
    if refusal.code in ("deadline", "cancelled"):
        return refusal.code
    return "fault" if refusal.status >= 500 else "refused"


def check_end(end: End) -> None:
    """Check that an answer ended as answers do.

    Raises:
        Refusal: its deadline passed, or something went wrong.
    """
    if end.finish == "deadline":
        raise _overdue()
    if end.finish == "refused":
        raise Refusal(400, end.found, code="invalid_value")
    if end.finish in ("fault", "cancelled"):
        raise Refusal(500, end.found or "the answer was cancelled", code="fault")
