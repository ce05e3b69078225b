"""What can be asked of the engine, and what it says back; imports no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

Finish = Literal["stop", "length", "cancelled", "deadline", "refused", "fault"]


class Constraint(Protocol):
    """What an answer may be: asked before every token, told of every token."""

    def allowed(self) -> np.ndarray:
        """Return bool [V]: which tokens may come next."""

    def accept(self, token: int) -> None:
        """Move on by one token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is drawn.

    `temperature` 0: the likeliest token. `top_k` 0: all. `seed` and `stream` (which of several answers to one prompt)
    decide every draw, together with the token's place: never who else is in the batch. `presence` and `frequency` are
    taken off the logits of tokens already written (once, and for each time); `bias` is added to the logit of a token.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stream: int = 0
    presence: float = 0.0
    frequency: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """Log-probability in nats of a token, and the likeliest tokens at its place, as (token, log-probability)."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A token was written. `text`: what can be shown by now, perhaps nothing yet; `chance`: where it was asked for."""

    token: int
    text: str = ""
    chance: Chance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The answer is complete. `text`: what was held back; `found`: what went wrong.

    `prompt`: chances of the prompt's tokens where they were asked for. `cached`: tokens of the prompt not computed.
    `stop`: the stop token that ended it, which is told by no `Piece`.
    """

    finish: Finish
    text: str = ""
    found: str = ""
    prompt: tuple[Chance, ...] = ()
    cached: int = 0
    stop: int | None = None


Event = Piece | End


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """A prompt to go on from.

    `adapter`: name of one that the engine knows; None: the base. `chances`: how many likeliest tokens to tell beside
    each token; None: no log-probabilities at all. `score_from`: tell the chances of the prompt's own tokens from this
    place on. `owner`: whose turn it is; owners take turns. `deadline`: by `time.monotonic`. `decode`: ids to text.
    `listen` is called in the engine's thread and must not wait.
    """

    ids: list[int]
    listen: Callable[[Event], None]
    adapter: str | None = None
    most_tokens: int = 256
    stop_ids: frozenset[int] = frozenset()
    stops: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    chances: int | None = None
    score_from: int | None = None
    constraint: Constraint | None = None
    owner: str = ""
    deadline: float | None = None
    decode: Callable[[list[int]], str] | None = None
