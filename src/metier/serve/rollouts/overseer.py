"""Watches rollouts: reads what others changed, and moves each candidate on or back as its rules say; no torch."""

import logging
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from metier.core.errors import MetierError
from metier.serve.audit import Audit
from metier.serve.faults import told
from metier.serve.rollouts.book import Rollout, Rollouts, State
from metier.serve.rollouts.rules import Decision, decide

LOG = logging.getLogger("metier.serve")
_PAUSE_SECONDS = 1.0
_ENDS: dict[str, State] = {"promote": "promoted", "roll back": "rolled back", "stop": "stopped"}


class Overseer(threading.Thread):
    """Looks at every rollout once a second until told to stop.

    Args:
        rollouts: of the project.
        audit: where decisions are written down.
        is_served: tells whether there is a model of a name.
    """

    def __init__(self, rollouts: Rollouts, audit: Audit, is_served: Callable[[str], bool]) -> None:
        super().__init__(name="rollouts", daemon=True)
        self._rollouts = rollouts
        self._audit = audit
        self._is_served = is_served
        self._stopped = threading.Event()

    def run(self) -> None:
        """Work until told to stop."""
        while not self._stopped.wait(_PAUSE_SECONDS):
            try:
                self.look()
            except (SQLAlchemyError, OSError, MetierError) as error:
                LOG.error("rollouts could not be looked at: %s", told(error))

    def stop(self) -> None:
        """Stop; the rollouts stay as they are."""
        self._stopped.set()
        self.join(timeout=10)

    def look(self) -> None:
        """Look at every rollout once."""
        self._rollouts.refresh()
        for rollout in self._rollouts.aliases():
            if rollout.state == "running":
                self._move(rollout, self._decision(rollout))
            elif rollout.state == "promoted":
                self._rollouts.settle(rollout, rollout.reason)

    def _decision(self, rollout: Rollout) -> Decision:
        if self._rollouts.is_moved(rollout):
            return Decision(move="stop", reason=f"{rollout.alias} was moved by somebody")
        if not self._is_served(rollout.candidate):
            return Decision(move="roll back", reason=f"{rollout.candidate} is not served any more")
        if rollout.kind != "canary":
            return Decision(move="stay", reason="")
        return decide(rollout.rules, rollout.step, self._rollouts.counts(rollout.id))

    def _move(self, rollout: Rollout, decision: Decision) -> None:
        if decision.move == "stay":
            return
        if decision.move == "step":
            moved = self._rollouts.step(rollout, decision.reason)
        else:
            moved = self._rollouts.end(rollout, _ENDS[decision.move], decision.reason)
        if moved:
            LOG.info("rollout %s: %s (%s)", rollout.alias, decision.move, decision.reason)
            self._audit.note(
                "rollouts", f"{decision.move} {rollout.alias}", candidate=rollout.candidate, stable=rollout.stable,
                reason=decision.reason,
            )  # fmt: skip
