"""How much each key may ask for in a minute: buckets that fill evenly; no torch. Belongs to the server's loop."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from metier.serve.keys import Caller
from metier.serve.refusal import Refusal
from metier.serve.settings import LimitSettings

_MINUTE = 60.0


@dataclass(slots=True)
class Bucket:
    """Holds up to a minute's worth; what is taken comes back evenly within a minute. It may be overdrawn.

    Args:
        size: what may be taken in a minute.
        level: what is in it.
        seen: when it was last looked at, seconds of a clock.
    """

    size: int
    level: float
    seen: float

    def fill(self, now: float) -> None:
        """Let the time since the last look count."""
        self.level = min(self.size, self.level + (now - self.seen) * self.size / _MINUTE)
        self.seen = now

    def wait(self, amount: float) -> float:
        """Return the seconds until an amount is there; more than the whole bucket waits for the whole bucket."""
        return max(0.0, min(amount, self.size) - self.level) * _MINUTE / self.size


class Limiter:
    """The buckets of all keys.

    Args:
        settings: what a key may do for which nothing else was said when it was made.
        clock: seconds, always growing.
    """

    def __init__(self, settings: LimitSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._usual = {"requests": settings.requests_per_minute, "tokens": settings.tokens_per_minute}
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def enter(self, caller: Caller) -> None:
        """Count a request.

        Raises:
            Refusal: it is one too many, or the tokens of this minute are used up.
        """
        tokens = self._bucket(caller, "tokens")
        if tokens is not None and tokens.wait(1) > 0:
            raise _refused("tokens", tokens, 1)
        self._take(caller, "requests", 1)

    def reserve(self, caller: Caller, tokens: int) -> None:
        """Set the tokens aside that a request will need at most.

        Raises:
            Refusal: they are not there.
        """
        self._take(caller, "tokens", tokens)

    def settle(self, caller: Caller, *, reserved: int, used: int) -> None:
        """Count what a request did need instead of what was set aside."""
        bucket = self._bucket(caller, "tokens")
        if bucket is not None:
            bucket.level = min(bucket.size, bucket.level + reserved - used)

    def headers(self, caller: Caller) -> Mapping[str, str]:
        """Return what is left, in the headers that OpenAI's clients know."""
        found = {}
        for kind in ("requests", "tokens"):
            bucket = self._bucket(caller, kind)
            if bucket is not None:
                found[f"x-ratelimit-limit-{kind}"] = str(bucket.size)
                found[f"x-ratelimit-remaining-{kind}"] = str(max(0, math.floor(bucket.level)))
                found[f"x-ratelimit-reset-{kind}"] = f"{bucket.wait(bucket.size):.3f}s"
        return found

    def _take(self, caller: Caller, kind: str, amount: int) -> None:
        bucket = self._bucket(caller, kind)
        if bucket is None:
            return
        if bucket.wait(amount) > 0:
            raise _refused(kind, bucket, amount)
        bucket.level -= amount

    def _bucket(self, caller: Caller, kind: str) -> Bucket | None:
        own = caller.requests_per_minute if kind == "requests" else caller.tokens_per_minute
        size = own or self._usual[kind]
        if size is None:
            return None
        now, place = self._clock(), (caller.id, kind)
        bucket = self._buckets.get(place)
        if bucket is None or bucket.size != size:
            bucket = self._buckets[place] = Bucket(size, size, now)
        bucket.fill(now)
        return bucket


def _refused(kind: str, bucket: Bucket, amount: int) -> Refusal:
    wait = bucket.wait(amount)
    return Refusal(
        429, f"more {kind} than this key may ask for; wanted: at most {bucket.size:,} in a minute",
        code="rate_limit_exceeded", retry_seconds=math.ceil(wait),
    )  # fmt: skip
