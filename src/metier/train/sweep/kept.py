"""Arrangements of steps, remembered: trials that read the same rows at the same step arrange them once."""

from dataclasses import asdict, dataclass, field
from hashlib import blake2b

from metier.core.types import Sequence
from metier.forest.arrange import Arrangement
from metier.forest.way import Way

_MOST_TOKENS = 20_000_000
"""Tokens of remembered arrangements, about half a gigabyte; what comes later is arranged again each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembering(Way):
    """A way that arranges the same sequences for the same budget once, for as long as there is room."""

    memory: dict[bytes, Arrangement] = field(default_factory=dict, compare=False, repr=False)
    room: list[int] = field(default_factory=lambda: [_MOST_TOKENS], compare=False, repr=False)

    def arrange(self, sequences: list[Sequence], budget: int, *, share: bool = True, together: int = 1) -> Arrangement:
        """Split sequences into forests of at most `budget` tokens, or return what was made of them before."""
        key = blake2b(f"{budget} {share} {self.packed} {together}".encode(), digest_size=16)
        for sequence in sequences:
            key.update(len(sequence).to_bytes(8, "big") + sequence.ids.tobytes() + sequence.weights.tobytes())
        found = self.memory.get(key.digest())
        if found is None:
            found = Way.arrange(self, sequences, budget, share=share, together=together)
            if found.computed <= self.room[0]:
                self.room[0] -= found.computed
                self.memory[key.digest()] = found
        return found


def remembering(way: Way, like: Remembering | None = None) -> Remembering:
    """Return a way that remembers, together with `like`."""
    plain = asdict(way)
    return Remembering(**plain) if like is None else Remembering(**plain, memory=like.memory, room=like.room)
