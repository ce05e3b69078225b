"""The models in memory: a worker for each set of weights, and what renders for each model."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import torch

from metier.core.errors import BusyError
from metier.engine.constrain import Grammars
from metier.engine.decoder import Engine
from metier.engine.limits import Limits
from metier.model.load import load_base, load_tuned
from metier.serve.calls import ToolForm, tool_form
from metier.serve.catalogue import Served
from metier.serve.settings import ServeSettings
from metier.serve.worker import State, Worker
from metier.text.render import Renderer, open_trained

_MIB = 1 << 20
_MOST_RENDERERS = 64
_WAITING_TOKENS = 1 << 24
"""Of all prompts that wait for one base, each answer with its own: 128 MiB of numbers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Open:
    """A model ready to answer: its worker, the adapter in it (None: none), and what turns text into tokens and back."""

    served: Served
    worker: Worker
    adapter: str | None
    text: "Text"


class Text:
    """The text side of a model."""

    def __init__(self, served: Served) -> None:
        self.renderer: Renderer = open_trained(served.tokenizer_folder, served.base.folder, served.text)
        self._grammars: Grammars | None = None
        self._form: ToolForm | None = None
        self._lock = threading.Lock()

    def grammars(self) -> Grammars:
        """Return what makes constraints; made once, which takes up to a second."""
        with self._lock:
            if self._grammars is None:
                tokenizer = self.renderer.tokenizer
                self._grammars = Grammars(tokenizer, tokenizer.stop_ids)
            return self._grammars

    def tools(self) -> ToolForm:
        """Return how tool calls are written.

        Raises:
            DataError: the template writes none that can be read back.
        """
        with self._lock:
            if self._form is None:
                self._form = tool_form(self.renderer)
            return self._form


class Pool:
    """Opens models when they are asked for. Belongs to the server's loop."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._workers: OrderedDict[str, Worker] = OrderedDict()
        self._texts: OrderedDict[tuple[str, str], Text] = OrderedDict()
        self._loading = threading.Lock()

    @property
    def states(self) -> dict[str, State]:
        """How each worker is doing, by its name."""
        return {worker.name: worker.state for worker in self._workers.values()}

    @asynccontextmanager
    async def open(self, served: Served) -> AsyncIterator[Open]:
        """Yield a model ready to answer; it stays in memory inside the block.

        Raises:
            BusyError: other models are in use, and no further one fits.
            ModelError: it cannot be loaded.
        """
        text = await self._text(served)
        worker = self._worker(served)
        worker.users += 1
        try:
            await asyncio.shield(worker.ready)
            adapter = await self._adapter(served, worker) if served.kind == "adapter" else None
            yield Open(served=served, worker=worker, adapter=adapter, text=text)
        finally:
            worker.users -= 1
            if worker.ready.done() and worker.ready.exception() is not None:
                self._workers = OrderedDict((key, each) for key, each in self._workers.items() if each is not worker)

    def _worker(self, served: Served) -> Worker:
        key = served.base.digest if served.kind in ("base", "adapter") else f"{served.name} {served.digest}"
        worker = self._workers.get(key)
        if worker is not None:
            self._workers.move_to_end(key)
            return worker
        most = self._settings.memory.models
        while len(self._workers) >= most:
            idle = next((name for name, other in self._workers.items() if other.users == 0), None)
            if idle is None:
                raise BusyError(f"{len(self._workers)} models are in use", f"at most {most} at once")
            self._workers.pop(idle).stop()
        name = served.base.name if served.kind in ("base", "adapter") else served.name
        worker = self._workers[key] = Worker(name, partial(self._load, served), self._limits())
        worker.start()
        return worker

    def _limits(self) -> Limits:
        chosen = self._settings
        return Limits(
            together=chosen.limits.together, waiting=chosen.limits.waiting, read_tokens=chosen.limits.read_tokens,
            waiting_tokens=_WAITING_TOKENS,
            prefix_bytes=chosen.memory.prefix_mib * _MIB, adapter_bytes=chosen.memory.adapters_mib * _MIB,
        )  # fmt: skip

    async def _text(self, served: Served) -> Text:
        key = (served.digest, str(served.text))
        if key not in self._texts:
            self._texts[key] = await asyncio.to_thread(Text, served)
            while len(self._texts) > _MOST_RENDERERS:
                self._texts.popitem(last=False)
        return self._texts[key]

    async def _adapter(self, served: Served, worker: Worker) -> str:
        """Make an adapter known to its worker under the digest of its content."""
        name, folder = served.digest, served.folder
        if folder is None:
            return name

        def know(engine: Engine) -> None:
            if not engine.adapters.knows(name):  # what was deleted may stand elsewhere too: in a version, say
                engine.adapters.know(name, folder)

        await worker.call(know)
        return name

    def _load(self, served: Served) -> torch.nn.Module:
        """Load a model, in its worker's thread; one at a time, for the library changes global things meanwhile."""
        with self._loading:
            if served.kind in ("base", "adapter") or served.folder is None:
                return load_base(served.base)
            return load_tuned(served.base, served.folder)

    def close(self) -> None:
        """Let every worker end."""
        for worker in self._workers.values():
            worker.stop()
