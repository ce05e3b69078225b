"""Who was not let in: counted, and told to the audit log in so few lines that nobody can fill a disk with them."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from metier.core.errors import MetierError
from metier.serve.audit import Audit
from metier.serve.faults import told

LOG = logging.getLogger("metier.serve")
_FIRST_SECONDS, _LONGEST_SECONDS = 60.0, 3600.0
_MOST = 8
"""Callers that a line names; the others are a number."""
_LENGTH = 45
"""Characters of an address: behind a proxy it is a header's."""


class TurnedAway:
    """Counts refusals. The first is a line of the audit log at once; those that follow share one, a minute later.

    While they go on the pause doubles, up to an hour: without a key nobody writes more than some thirty lines a day.
    An hour without any begins anew. Belongs to the server's loop.

    Args:
        audit: where lines are written.
        clock: seconds, always growing.
    """

    def __init__(self, audit: Audit, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._codes: Counter[str] = Counter()
        self._who: Counter[str] = Counter()
        self._due = -math.inf
        self._pause = _FIRST_SECONDS

    async def note(self, code: str, who: str) -> None:
        """Count one, and write a line where it is time for one.

        Args:
            code: why.
            who: the id of the key, or the address of who has none.
        """
        who = who[:_LENGTH]
        self._codes[code] += 1
        self._who[who if who in self._who or len(self._who) < _MOST else "others"] += 1
        now = self._clock()
        if now < self._due:
            return
        again = now - self._due < _LONGEST_SECONDS
        self._pause = min(2 * self._pause, _LONGEST_SECONDS) if again else _FIRST_SECONDS
        self._due = now + self._pause
        await asyncio.to_thread(self._write, self._taken())

    def close(self) -> None:
        """Write what has not been written."""
        if self._codes:
            self._write(self._taken())

    def _taken(self) -> dict[str, Any]:
        facts = {"why": dict(self._codes), "callers": dict(self._who)}
        self._codes, self._who = Counter(), Counter()
        return facts

    def _write(self, facts: dict[str, Any]) -> None:
        try:
            self._audit.note("gate", "refused", **facts)
        except (SQLAlchemyError, OSError, MetierError) as error:  # who is refused is refused all the same
            LOG.error("refused requests could not be written down: %s", told(error))
