"""Answers beside answers: given after the one that was heard, few at a time, and never waited for; imports no torch."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from metier.core.errors import MetierError
from metier.serve.refusal import Refusal

LOG = logging.getLogger("metier.serve")
_AT_ONCE = 2
_MOST_WAITING = 64

Work = Callable[[], Awaitable[object]]


class Shadows:
    """Runs them. Belongs to the server's loop; beyond what may wait, further ones are dropped and counted."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._turns: asyncio.Semaphore | None = None
        self.dropped = 0

    def add(self, work: Work) -> None:
        """Run some work when it is its turn."""
        if len(self._running) >= _AT_ONCE + _MOST_WAITING:
            self.dropped += 1
            return
        if self._turns is None:
            self._turns = asyncio.Semaphore(_AT_ONCE)
        task = asyncio.get_running_loop().create_task(self._run(work, self._turns))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, work: Work, turns: asyncio.Semaphore) -> None:
        async with turns:
            try:
                await work()
            except (Refusal, MetierError) as error:
                LOG.info("an answer beside another could not be given: %s", error)

    def close(self) -> None:
        """Give up what has not ended."""
        for task in self._running:
            task.cancel()
