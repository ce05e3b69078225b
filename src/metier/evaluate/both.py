"""Base and tuned model at hand, each loaded when it is first asked and no earlier; what the base says is kept."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from transformers import PreTrainedModel

from metier.core import digest
from metier.core.progress import Progress
from metier.evaluate.answer import Answered, Asked, answer, remembered
from metier.forest.way import Way, probe

_CODE = 2
"""Raised when the same model would answer otherwise than before: kept answers are then not used."""


@dataclass(slots=True, kw_only=True)
class Both:
    """The two models of an evaluation.

    `open_base` and `open_tuned` load them; `base_key` names all that the base's answers are a function of beside what
    it is asked; `store` is the project's `.metier` folder.
    """

    open_base: Callable[[], PreTrainedModel]
    open_tuned: Callable[[], torch.nn.Module]
    base_key: Sequence[object]
    store: Path
    progress: Progress
    _models: dict[str, torch.nn.Module] = field(default_factory=dict)
    _ways: dict[str, Way] = field(default_factory=dict)

    def model(self, name: str) -> torch.nn.Module:
        """Return "base" or "tuned", loaded once; only one is held at a time, so that one fits where one fits."""
        if name not in self._models:
            self._models.clear()
            self._models[name] = self.open_base() if name == "base" else self.open_tuned()
        return self._models[name]

    def way(self, name: str) -> Way:
        """Return how a model is computed; each is probed once, however many suites it is asked."""
        if name not in self._ways:
            self._ways[name] = probe(self.model(name))
        return self._ways[name]

    def answers(self, name: str, asked: Asked, seen: object) -> tuple[Answered, float]:
        """Ask one model; returns its answers and the seconds it took, 0 where the base's were kept.

        Args:
            name: "base" or "tuned".
            asked: everything it is confronted with.
            seen: a plain value that differs whenever `asked` does.
        """
        started = time.monotonic()

        def ask() -> Answered:
            way = self.way(name) if any(asked.rows) or any(asked.general) else None
            return answer(self.model(name), asked, name=name, progress=self.progress, way=way)

        if name == "tuned":
            return ask(), time.monotonic() - started
        decoding = dataclasses.asdict(asked.decoding)
        machine = [torch.get_num_threads(), torch.__version__, transformers.__version__]
        key = digest.of_value([_CODE, list(self.base_key), seen, decoding, machine])
        answered, kept = remembered(self.store, key, ask)
        return answered, 0.0 if kept else time.monotonic() - started
