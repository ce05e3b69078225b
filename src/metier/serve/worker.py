"""One model in a thread of its own: requests go in, events come out on the server's loop."""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from metier.core.errors import BusyError, MetierError, RunError
from metier.engine.decoder import Engine, opened
from metier.engine.limits import Counts, Limits
from metier.engine.queue import FairQueue
from metier.engine.request import End, Event, Request
from metier.engine.run import Run
from metier.model.quiet import LIBRARY_FAULTS

LOG = logging.getLogger("metier.serve")

Task = Callable[[Engine], Any]
_Box = asyncio.Queue[tuple[int, Event | MetierError]]
"""Where events of some requests arrive, each with the number of its request, or why none comes."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Work:
    """What one request computes without writing: one task a turn, until all are done or nobody waits for them."""

    owner: str
    left: deque[Task]
    future: "asyncio.Future[Any]"
    done: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a worker is doing."""

    active: int = 0
    waiting: int = 0
    prefix_bytes: int = 0
    adapters: tuple[str, ...] = ()
    way: str = ""
    counts: Counts = field(default_factory=Counts)


class Worker(threading.Thread):
    """Owns a model and its engine.

    Args:
        name: for the log.
        load: reads the model, in the thread.
        limits: of the engine.
    """

    def __init__(self, name: str, load: Callable[[], torch.nn.Module], limits: Limits) -> None:
        super().__init__(name=f"engine {name}", daemon=True)
        self._load = load
        self._limits = limits
        self._inbox: queue.SimpleQueue[tuple[Task, asyncio.Future[Any] | None] | None] = queue.SimpleQueue()
        self._works: FairQueue[_Work] = FairQueue()
        self._loop = asyncio.get_running_loop()
        self._said: list[tuple[_Box, int, Event | MetierError]] = []
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.state = State()
        self.users = 0

    def run(self) -> None:
        """Work until told to stop."""
        try:
            model = self._load()
        except (MetierError, *LIBRARY_FAULTS):
            LOG.exception("%s cannot be loaded", self.name)
            known = RunError("the model cannot be loaded; the server's log says why")
            self._loop.call_soon_threadsafe(self.ready.set_exception, known)
            return
        with opened(model, self._limits) as engine:
            LOG.info("%s: %s", self.name, engine.way.reason)
            self._loop.call_soon_threadsafe(self.ready.set_result, None)
            while self._serve(engine):
                pass

    def _serve(self, engine: Engine) -> bool:
        """Take in what is asked for, then do one task of those that wait, then one step; return whether to go on."""
        while not (engine.busy() or len(self._works)) or not self._inbox.empty():
            asked = self._inbox.get()
            if asked is None:
                engine.abandon("the model is leaving")
                for work in self._works:
                    self._settle(work, RunError("the model is leaving"))
                self._tell()
                return False
            self._do(engine, *asked)
            self._note(engine)
            self._tell()
        self._turn(engine)
        try:
            engine.step()
        except LIBRARY_FAULTS:
            LOG.exception("a step of %s failed", self.name)
            engine.abandon("the server could not do this; its log says why")
        self._note(engine)
        self._tell()
        return True

    def _turn(self, engine: Engine) -> None:
        """Do one task of whose turn it is: what writes goes on after each."""
        self._works.drop(lambda work: work.future.done())
        work = self._works.take(lambda work: True)
        if work is None:
            return
        try:
            work.done.append(work.left.popleft()(engine))
        except MetierError as error:
            self._settle(work, error)
        except LIBRARY_FAULTS:
            LOG.exception("a task of %s failed", self.name)
            self._settle(work, RunError("the server could not do this; its log says why"))
        else:
            if work.left:
                self._works.put(work.owner, work)
            else:
                self._settle(work, None)

    def _settle(self, work: _Work, error: MetierError | None) -> None:
        with suppress(RuntimeError):  # the loop has ended: nobody listens any more
            self._loop.call_soon_threadsafe(_settle, work.future, work.done, error)

    def _do(self, engine: Engine, task: Task, future: "asyncio.Future[Any] | None") -> None:
        result, fault = None, None
        try:
            result = task(engine)
        except MetierError as error:
            fault = error
        except LIBRARY_FAULTS:
            LOG.exception("a task of %s failed", self.name)
            fault = RunError("the server could not do this; see its log")
        if future is not None:
            self._loop.call_soon_threadsafe(_settle, future, result, fault)

    def _note(self, engine: Engine) -> None:
        self.state = State(
            active=engine.active, waiting=engine.waiting + len(self._works), prefix_bytes=engine.prefix_bytes,
            adapters=engine.adapters.loaded, way=engine.way.reason, counts=engine.counts,
        )  # fmt: skip

    def _tell(self) -> None:
        """Hand everything that was said in this step to the loop, at once."""
        if self._said:
            said, self._said = self._said, []
            with suppress(RuntimeError):  # the loop has ended: nobody listens any more
                self._loop.call_soon_threadsafe(_deliver, said)

    async def call(self, task: Task) -> Any:
        """Run something that computes nothing in the engine's thread and return what it returns."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._inbox.put((task, future))
        return await future

    async def computed(self, tasks: Sequence[Task], owner: str) -> list[Any]:
        """Return what some tasks return; owners take turns, and answers go on between two tasks.

        Who is cancelled while this waits is cancelled from the next task on.

        Args:
            tasks: at least one; each may compute about as much as a pass of the engine.
            owner: in whose turn.

        Raises:
            BusyError: too many wait already.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        work = _Work(owner=owner, left=deque(tasks), future=future)
        try:
            await self.call(partial(self._admit, work=work))
            return await future
        finally:
            future.cancel()  # nobody waits any more

    def _admit(self, engine: Engine, work: _Work) -> None:
        self._works.drop(lambda other: other.future.done())
        if len(self._works) + engine.asked >= self._limits.waiting + self._limits.together:
            raise BusyError(f"{len(self._works)} requests wait already", do="try again in a moment")
        self._works.put(work.owner, work)

    async def answers(self, requests: Sequence[Request]) -> AsyncGenerator[tuple[int, Event]]:
        """Yield (number of the request, event) until all have ended; what is not listened to any more is cancelled.

        Raises:
            BusyError: too many wait already.
            InputError: a request cannot be answered.
        """
        box: _Box = asyncio.Queue()
        runs: list[Run] = []
        # No word back that they were taken: it would wake the loop while the engine computes the first of them.
        self._inbox.put((partial(self._submit, requests=requests, box=box, runs=runs), None))
        left = len(requests)
        try:
            while left:
                number, event = await box.get()
                if isinstance(event, MetierError):
                    left = 0
                    raise event
                left -= isinstance(event, End)
                yield number, event
        finally:
            if left:
                self._inbox.put((partial(_cancel, runs=runs), None))

    def _submit(self, engine: Engine, requests: Sequence[Request], box: "_Box", runs: list[Run]) -> None:
        try:
            heard = [replace(each, listen=partial(self._hear, box, number)) for number, each in enumerate(requests)]
            runs += engine.submit_all(heard)
        except MetierError as error:
            self._hear(box, 0, error)
        except LIBRARY_FAULTS:
            LOG.exception("%s could not take a request", self.name)
            self._hear(box, 0, RunError("the server could not do this; see its log"))

    def _hear(self, box: "_Box", number: int, event: Event | MetierError) -> None:
        self._said.append((box, number, event))

    def stop(self) -> None:
        """Let the thread end after the step it is in."""
        self._inbox.put(None)


def _cancel(engine: Engine, runs: list[Run]) -> None:
    for run in runs:
        engine.cancel(run)


def _settle(future: "asyncio.Future[Any]", result: Any, error: MetierError | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _deliver(said: list[tuple["_Box", int, Event | MetierError]]) -> None:
    for box, number, event in said:
        box.put_nowait((number, event))
