"""The engine: requests come and go at any time, and every step computes one pass for all that are on their way.

A pass holds the next token of every answer being written and, beside them, a part of the prompts being read, so that a
long prompt never stops the others. Beginnings that were computed before are copied, and a beginning that somebody is
just computing is waited for. A request's answer depends on nobody else's, up to rounding in the last bits.
"""

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count

import torch

from metier.core.errors import BusyError, DataError, MetierError
from metier.engine import sampler, turn
from metier.engine.adapters import Shelf
from metier.engine.attend import in_slots
from metier.engine.beginning import common
from metier.engine.limits import USUAL, Counts, Limits
from metier.engine.mixture import Adapter, Mixture
from metier.engine.packed import packed
from metier.engine.prefix import BLOCK, PrefixCache
from metier.engine.queue import FairQueue
from metier.engine.recall import text_config
from metier.engine.request import Finish, Request
from metier.engine.run import Run
from metier.engine.way import Alone, Together, Way, fact, together
from metier.forest.attend import inner_model
from metier.model.quiet import LIBRARY_FAULTS


class Engine:
    """Many requests on one base; see `opened`. Its methods belong to one thread."""

    def __init__(self, model: torch.nn.Module, way: Way, *, mixture: Mixture, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.way = way
        self.counts = Counts()
        self._mixture = mixture
        self.adapters = Shelf(model, mixture, limits.adapter_bytes)
        self._context = fact(text_config(model), "max_position_embeddings")
        self._slots = way.slots if isinstance(way, Together) else None
        self._prefix = PrefixCache(limits.prefix_bytes if self._slots is not None else 0)
        self._waiting: FairQueue[Run] = FairQueue()
        self._active: list[Run] = []
        self._asked: Counter[int] = Counter()  # tokens of the prompts that were asked together, as long as one is left
        self._numbers = count()
        self._held: dict[int, Adapter] = {}
        self._coming: set[bytes] = set()

    @property
    def context(self) -> int | None:
        """Most tokens of prompt and answer; None: the model names no limit."""
        return self._context

    @property
    def active(self) -> int:
        """Answers on their way."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def prefix_bytes(self) -> int:
        """Memory that beginnings take."""
        return self._prefix.size

    def submit(self, request: Request) -> Run:
        """Let a request wait for its turn; raises as `submit_all` does."""
        return self.submit_all([request])[0]

    def submit_all(self, requests: Sequence[Request]) -> list[Run]:
        """Let what somebody asked at once wait for its turn, all of it or nothing.

        However many answers are wanted (`n` of them, or the chance of each that is on offer), they count as one among
        those that may wait, as long as their prompts are not more tokens than all that wait may have together.

        Raises:
            DataError: a prompt is empty or leaves no room for an answer.
            BusyError: too many wait already.
            ModelError: an adapter is not known or cannot be read.
        """
        limits = [self._limit(request) for request in requests]
        tokens = sum(len(request.ids) for request in requests)
        most = self.limits.waiting + self.limits.together
        if len(self._asked) >= most or (self._asked and self._asked.total() + tokens > self.limits.waiting_tokens):
            raise BusyError(f"{len(self._asked)} requests wait already", do="try again in a moment")
        runs = [Run(request, limit, self._owner(request)) for request, limit in zip(requests, limits, strict=True)]
        group = next(self._numbers)
        for run in runs:
            run.group = group
            self._asked[group] += len(run.request.ids)
            self._waiting.put(run.request.owner, run)
        return runs

    @property
    def asked(self) -> int:
        """How many requests wait or are answered, whatever the number of their answers."""
        return len(self._asked)

    def _limit(self, request: Request) -> int:
        """Return the most tokens of a request's prompt and answer, or refuse it as `submit_all` says."""
        if not request.ids:
            raise DataError("a prompt without a token", "at least one token to continue")
        limit = len(request.ids) + request.most_tokens
        if self._context is not None:
            limit = min(limit, self._context)
        if limit < len(request.ids) or (limit == len(request.ids) and request.most_tokens > 0):
            raise DataError(
                f"a prompt of {len(request.ids):,} tokens", f"less than {self._context:,}, the model's context"
            )
        if not self.way.possible(limit):
            raise DataError(f"{limit:,} tokens for one answer", "what fits into memory", "lower max_tokens")
        return limit

    def _owner(self, request: Request) -> str:
        """Return whose keys and values a request's prompt has."""
        adapter = self.adapters.get(request.adapter, self._in_use()) if request.adapter is not None else None
        if request.adapter is not None and adapter is None:
            return secrets.token_hex(8)  # not read yet: what it shares is found out when it is
        return adapter.owner if adapter is not None else ""

    @torch.inference_mode()
    def states(self, ids: list[int], adapter: str | None) -> torch.Tensor:
        """Return the last states [T, E] of one text, at least in float32."""
        chosen = self.adapters.get(adapter) if adapter is not None else None
        device = next(self.model.parameters()).device
        self._mixture.assign([chosen] * len(ids), device)
        decoder = inner_model(self.model).base_model
        found = decoder(input_ids=torch.tensor([ids], device=device), use_cache=False).last_hidden_state[0]
        return found.to(torch.promote_types(found.dtype, torch.float32))

    def cancel(self, run: Run) -> None:
        """Stop an answer; what was written of it has been told already."""
        run.cancelled = True

    def busy(self) -> bool:
        """Tell whether there is anything to do."""
        return bool(self._active) or len(self._waiting) > 0

    def abandon(self, found: str) -> None:
        """End everything with a fault."""
        for run in [*self._active, *self._waiting.drop(lambda run: True)]:
            self._leave(run, "fault", found)
        self._coming.clear()

    @torch.inference_mode()
    def step(self) -> None:
        """Compute one pass."""
        self._clear_out()
        self._admit()
        parts = turn.chosen(self._active, self._held, self.limits.read_tokens)
        if not parts:
            return
        singles = [run for run, part in parts if len(part.ids) == 1]
        logits = self.way.logits([part for _, part in parts], common(singles))
        self.counts.passes += 1
        ready: list[tuple[Run, torch.Tensor]] = []
        for (run, part), found in zip(parts, logits, strict=True):
            self.counts.computed += len(part.ids)
            turn.tell_prompt(run, part, found)
            run.computed += len(part.ids)
            self._keep(run)
            if run.left == 0 and not run.ended:
                ready.append((run, found[-1]))
        self._write(ready)
        self._clear_out()

    def _write(self, ready: list[tuple[Run, torch.Tensor]]) -> None:
        """Give every answer that has been read its next token."""
        asked = [(run, logits) for run, logits in ready if run.limit > len(run.request.ids)]
        for run, _ in ready:
            if run.limit == len(run.request.ids):
                self._leave(run, "length")  # only the prompt was asked about
        if not asked:
            return
        logits = sampler.table([logits for _, logits in asked])
        highest, likeliest = logits.max(dim=-1)
        sound = torch.isfinite(highest)
        if not bool(sound.all()):
            for (run, _), is_sound in zip(asked, sound.tolist(), strict=True):
                if not is_sound:
                    self._leave(run, "fault", "logits are not numbers; check the model's weights")
            logits, likeliest = logits[sound], likeliest[sound]
        runs = [run for run, _ in asked if not run.ended]
        for run, drawn in zip(runs, sampler.sample_each(logits, [run.draw for run in runs], likeliest), strict=True):
            if isinstance(drawn, DataError):  # its rules cannot be kept: it ends alone
                self._leave(run, "refused", str(drawn))
                continue
            token, chance = drawn
            run.take(token, chance)
            self.counts.written += 1
            if run.ended:
                self._release(run, "stop" if token in run.request.stop_ids else "length")

    def _admit(self) -> None:
        """Let waiting requests in while there is room."""
        while len(self._active) < self.limits.together:
            run = self._waiting.take(self._ready)
            if run is None:
                return
            self._enter(run)

    def _ready(self, run: Run) -> bool:
        """Tell whether a request may go on: there is room, and nobody is just computing what it begins with."""
        if not self.way.fits(run.limit) or not self._has_adapter(run):
            return False
        missing = next((name for name in run.blocks[: run.usable // BLOCK] if name not in self._prefix), None)
        return missing is None or missing not in self._coming

    def _has_adapter(self, run: Run) -> bool:
        """Take the adapter of a request in hand; one that cannot be had ends its request."""
        name = run.request.adapter
        if name is None:
            return True
        try:
            adapter = self.adapters.get(name, self._in_use())
        except MetierError as error:
            run.end("fault", str(error))
            run.cancelled = True
            return False
        return adapter is not None

    def _enter(self, run: Run) -> None:
        if run.request.adapter is not None and (adapter := self.adapters.get(run.request.adapter, self._in_use())):
            self._held[id(run)] = adapter
        run.slot = self.way.take(run.limit)
        self._active.append(run)
        if self._slots is None or self.limits.prefix_bytes == 0:
            return
        found = self._prefix.find(run.blocks[: run.usable // BLOCK])
        self._slots.fill(run.slot, found)
        run.computed = run.cached = run.kept = len(found) * BLOCK
        run.kept = len(found)
        self.counts.reused += run.cached
        self._coming.update(run.blocks[len(found) :])

    def _keep(self, run: Run) -> None:
        """Keep the blocks that were completed, of the prompt and of the answer."""
        if self._slots is None or self.limits.prefix_bytes == 0:
            return
        while (run.kept + 1) * BLOCK <= run.computed:
            if run.kept >= len(run.blocks):
                run.extend()
            name = run.blocks[run.kept]
            self._prefix.keep(name, self._slots.block(run.slot, run.kept))
            self._coming.discard(name)
            run.kept += 1

    def _clear_out(self) -> None:
        """Let go of what was cancelled or nobody waits for any more."""
        for run in [*self._active, *self._waiting.drop(lambda run: run.cancelled or run.overdue())]:
            if run.cancelled:
                self._leave(run, "cancelled")
            elif run.overdue():
                self._leave(run, "deadline", "its deadline has passed")
        gap = self._slots.gap() if self._slots is not None else None
        if gap is not None and self._slots is not None:
            mover = next(run for run in self._active if run.slot == gap[0])
            self._slots.move(*gap, length=mover.computed)
            mover.slot = gap[1]

    def _leave(self, run: Run, finish: Finish, found: str = "") -> None:
        run.end(finish, found)
        self._release(run, finish)

    def _release(self, run: Run, finish: str) -> None:
        """Free what an answer held."""
        self.counts.ended[finish] += 1
        if run in self._active:
            self._active.remove(run)
            self.way.free(run.slot)
        self._held.pop(id(run), None)
        self._coming.difference_update(run.blocks)
        self._asked[run.group] -= len(run.request.ids)
        if self._asked[run.group] <= 0:
            del self._asked[run.group]

    def _in_use(self) -> set[str]:
        return {adapter.name for adapter in self._held.values()}


@contextmanager
def opened(model: torch.nn.Module, limits: Limits = USUAL) -> Iterator[Engine]:
    """Open an engine on a model; what it computes together was tried against the model's own pass first."""
    mixture = Mixture()
    with packed(model), ExitStack() as stack:
        try:
            stack.enter_context(in_slots(model))
            way = together(model, most=limits.together, mixture=mixture)
        except LIBRARY_FAULTS as error:
            way = f"its attention cannot be replaced ({type(error).__name__})"
        if isinstance(way, str):
            stack.close()
            way = Alone(model, limits.together, mixture=mixture, reason=way)
        yield Engine(model, way, mixture=mixture, limits=limits)
