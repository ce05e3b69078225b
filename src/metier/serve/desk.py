"""What every route needs: the models, who may ask, what is recorded, what is counted."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import Request as HttpRequest

from metier.serve.asking import Chosen
from metier.serve.audit import Audit
from metier.serve.calibrated import Calibrations
from metier.serve.catalogue import Catalogue, Served
from metier.serve.keys import Caller, Keys
from metier.serve.limits import Limiter
from metier.serve.meters import Meters
from metier.serve.pool import Pool
from metier.serve.refusal import Refusal
from metier.serve.rollouts.book import Rollouts
from metier.serve.rollouts.registered import is_registered
from metier.serve.rollouts.rules import STABLE
from metier.serve.rollouts.shadows import Shadows
from metier.serve.settings import ServeSettings
from metier.serve.traces import Recorder
from metier.serve.tuning.grading import Trials
from metier.serve.tuning.jobs import Jobs
from metier.serve.webhooks import Webhooks


@dataclass(slots=True, kw_only=True, eq=False)
class Desk:
    """The server's parts."""

    settings: ServeSettings
    catalogue: Catalogue
    pool: Pool
    keys: Keys
    audit: Audit
    limiter: Limiter
    recorder: Recorder
    rollouts: Rollouts
    calibrations: Calibrations
    meters: Meters = field(default_factory=Meters)
    shadows: Shadows = field(default_factory=Shadows)
    trials: Trials = field(default_factory=Trials)
    jobs: Jobs | None = None
    webhooks: Webhooks | None = None

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

    def choose(self, name: str, tell: Callable[[], str]) -> Chosen:
        """Return who answers a request.

        Args:
            name: of a model, or of a rollout.
            tell: tells what the requests of a user or conversation have in common; asked where a rollout needs it.

        Raises:
            Refusal: there is no model of that name.
        """
        rollout = self.rollouts.of(name)
        if rollout is None or (rollout.state != "running" and is_registered(name)):
            return Chosen(served=self.find(name))
        key = tell()
        arm = rollout.arm(key)
        served = self.catalogue.find(rollout.model(arm))
        if served is None:  # the overseer sees that too, and goes back
            arm, served = STABLE, self.find(rollout.stable)
        beside = self.catalogue.find(rollout.candidate) if rollout.is_shadowed(key) else None
        return Chosen(served=served, rollout=rollout, arm=arm, beside=beside)

    def writer(self, name: str, tell: Callable[[], str]) -> Chosen:
        """Return who answers with text; as `choose`.

        Raises:
            Refusal: there is no model of that name, or it has a head of classes.
        """
        chosen = self.choose(name, tell)
        if chosen.served.kind == "head":
            raise Refusal(400, f"model {name!r} has a head and writes no text; ask it at /v1/decisions", param="model")
        return chosen


def desk_of(request: HttpRequest) -> Desk:
    """Return the server's parts."""
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


def caller_of(request: HttpRequest) -> Caller:
    """Return who asks; the gate has let them in already."""
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Caller)
    return caller
