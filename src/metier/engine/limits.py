"""How much an engine takes on, and what it has done."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much an engine takes on.

    `together`: most answers at once; `waiting`: most requests in the queue, `waiting_tokens`: most tokens of all their
    prompts (where somebody waits already); `read_tokens`: most tokens of prompts a step; `prefix_bytes` and
    `adapter_bytes`: memory of beginnings and of adapters.
    """

    together: int = 16
    waiting: int = 1 << 30
    waiting_tokens: int = 1 << 60
    read_tokens: int = 256
    prefix_bytes: int = 256 << 20
    adapter_bytes: int = 1 << 30


USUAL = Limits()


@dataclass(slots=True, kw_only=True)
class Counts:
    """What an engine has done since it was opened."""

    passes: int = 0
    computed: int = 0
    reused: int = 0
    written: int = 0
    ended: Counter[str] = field(default_factory=Counter)
