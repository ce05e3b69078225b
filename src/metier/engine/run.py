"""One answer being written: its tokens, where its keys are, what was shown of it; imports no torch."""

import time

from metier.engine.prefix import BLOCK, following, names
from metier.engine.request import Chance, End, Finish, Piece, Request
from metier.engine.sampler import Draw
from metier.engine.words import Words


class Run:
    """A request on its way.

    `ids`: prompt and answer; `computed`: tokens whose keys are known; `slot`: -1 while it waits. `limit`: most tokens
    of prompt and answer. `blocks`: names of the prompt's whole blocks. `group`: what it was asked together with.
    """

    def __init__(self, request: Request, limit: int, owner: str) -> None:
        self.request = request
        self.ids = list(request.ids)
        self.limit = limit
        self.owner = owner
        self.slot = -1
        self.group = -1
        self.computed = self.cached = 0
        self.blocks = names(self.ids, owner)
        self.kept = 0
        self.cancelled = False
        self.ended = False
        self.draw = Draw(sampling=request.sampling, constraint=request.constraint, chances=request.chances)
        self._prompt: list[Chance] = []
        self._words = Words(request.decode, request.stops) if request.decode is not None else None

    @property
    def left(self) -> int:
        """Tokens that are known and not computed."""
        return len(self.ids) - self.computed

    @property
    def is_reading(self) -> bool:
        """Whether part of the prompt is still to be computed."""
        return self.computed < len(self.request.ids)

    @property
    def usable(self) -> int:
        """Tokens of the prompt that may come from the cache: not those whose logits are wanted."""
        wanted = len(self.request.ids) - 1
        if self.request.score_from is not None:
            wanted = min(wanted, max(0, self.request.score_from - 1))
        return wanted // BLOCK * BLOCK

    def overdue(self, now: float | None = None) -> bool:
        """Whether nobody waits for it any more."""
        deadline = self.request.deadline
        return deadline is not None and (time.monotonic() if now is None else now) > deadline

    def extend(self) -> None:
        """Name the next block of the answer."""
        start = len(self.blocks) * BLOCK
        before = self.blocks[-1] if self.blocks else self.owner.encode()
        self.blocks.append(following(before, self.ids[start : start + BLOCK]))

    def told(self, chances: list[Chance]) -> None:
        """Keep chances of the prompt's own tokens."""
        self._prompt += chances

    def take(self, token: int, chance: Chance | None) -> None:
        """Add the next token, tell who listens, and end where the request says so."""
        request = self.request
        if self.draw.constraint is not None and token not in request.stop_ids:
            self.draw.constraint.accept(token)
        if token in request.stop_ids:
            self.end("stop", stop=token)
            return
        self.ids.append(token)
        self.draw.place += 1
        self.draw.written[token] = self.draw.written.get(token, 0) + 1
        text = self._words.add(token) if self._words is not None else ""
        request.listen(Piece(token=token, text=text, chance=chance))
        if self._words is not None and self._words.stopped:
            self.end("stop")
        elif len(self.ids) >= self.limit:
            self.end("length")

    def end(self, finish: Finish, found: str = "", stop: int | None = None) -> None:
        """Tell who listens that nothing more comes."""
        if self.ended:
            return
        self.ended = True
        text = self._words.rest() if self._words is not None else ""
        prompt = tuple(self._prompt)
        self.request.listen(End(finish=finish, text=text, found=found, prompt=prompt, cached=self.cached, stop=stop))
