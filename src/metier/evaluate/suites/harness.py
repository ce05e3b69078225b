"""lm-evaluation-harness with our models behind it: its tasks and its scores, our reading of shared beginnings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metier.core import extras
from metier.core.errors import SettingsError
from metier.core.progress import Progress
from metier.core.types import TextRow
from metier.engine.sample import complete
from metier.evaluate.answer import losses
from metier.evaluate.both import Both
from metier.evaluate.suites import ask
from metier.evaluate.suites.ledger import Result
from metier.evaluate.suites.settings import SuiteSettings
from metier.text.render import Renderer, render

_MOST_NEW_TOKENS = 256


def run(settings: SuiteSettings, renderer: Renderer, both: Both, folder: Path) -> list[Result]:
    """Let lm-evaluation-harness ask base and tuned model the tasks that are named.

    Args:
        settings: the tasks, more task files, how many items.
        renderer: of the base.
        both: the models.
        folder: what the folder of task files is relative to.

    Raises:
        MissingExtraError: lm-eval is not installed.
        SettingsError: a task is not known there.
    """
    if not settings.harness:
        return []
    library = extras.load("lm_eval", "harness")
    more = None if settings.harness_folder is None else str((folder / settings.harness_folder).resolve())
    manager = extras.load("lm_eval.tasks", "harness").TaskManager(include_path=more)
    unknown = [name for name in settings.harness if not manager.match_tasks([name])]
    if unknown:
        raise SettingsError(f"evaluate.suites.harness: no task {', '.join(unknown)}", "a task of lm-evaluation-harness")
    found: dict[str, dict[str, tuple[list[int], np.ndarray, str]]] = {}
    for name in ("base", "tuned"):
        model = behind(both.model(name), renderer, both.progress)
        out = library.simple_evaluate(
            model=model, tasks=list(settings.harness), task_manager=manager, limit=settings.most_items,
            bootstrap_iters=0, log_samples=True, confirm_run_unsafe_code=False,
        )  # fmt: skip
        found[name] = {task: _values(samples) for task, samples in out["samples"].items()}
    return [
        Result(name=task, what=f"lm-evaluation-harness, {measured}", base=values, tuned=found["tuned"][task][1])
        for task, (_, values, measured) in found["base"].items()
    ]


def _values(samples: Sequence[dict[str, Any]]) -> tuple[list[int], np.ndarray, str]:
    """Return document numbers, values of the task's first metric in the order of the documents, and its name."""
    ordered = sorted(samples, key=lambda sample: sample["doc_id"])
    metric = ordered[0]["metrics"][0]
    return [sample["doc_id"] for sample in ordered], np.array([float(sample[metric]) for sample in ordered]), metric


def behind(model: torch.nn.Module, renderer: Renderer, progress: Progress) -> Any:
    """Return one of our models as lm-evaluation-harness wants it.

    Raises:
        MissingExtraError: lm-eval is not installed.
    """
    kind = extras.load("lm_eval.api.model", "harness").LM

    class Behind(kind):
        """A model behind the three questions that the harness asks."""

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            """Return the log-probability of each continuation, and whether it is what the model would write."""
            return _likelihoods(model, [request.args for request in requests], renderer, progress)

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            """Return the log-probability of each text."""
            rows = [TextRow(id=str(n), source="", text=request.args[0]) for n, request in enumerate(requests)]
            groups = [found if isinstance(found := render(row, renderer), tuple) else () for row in rows]
            return (-losses(model, groups, progress=progress)[:, 0]).tolist()

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            """Return what the model writes until one of the request's stops."""
            return _written(model, [request.args for request in requests], renderer, progress)

    return Behind()


def _likelihoods(
    model: torch.nn.Module, pairs: Sequence[tuple[str, str]], renderer: Renderer, progress: Progress
) -> list[tuple[float, bool]]:
    divided = [ask.divided(context, continuation, renderer) for context, continuation in pairs]
    groups = [(ask.labelled(context, rest, "", renderer),) for context, rest in divided]
    nats = losses(model, groups, progress=progress)[:, 0]
    tokenizer = renderer.tokenizer
    contexts = [context[-max(1, renderer.limit - len(rest)) :] for context, rest in divided]
    said = complete(
        model, contexts, stop_ids=(), max_new_tokens=max(len(rest) for _, rest in divided), pad_id=tokenizer.pad_id,
        progress=progress,
    )  # fmt: skip
    greedy = [tuple(rest) == entry.ids[: len(rest)] for (_, rest), entry in zip(divided, said, strict=True)]
    return [(-float(each), same) for each, same in zip(nats, greedy, strict=True)]


def _written(
    model: torch.nn.Module, requests: Sequence[tuple[str, dict[str, Any]]], renderer: Renderer, progress: Progress
) -> list[str]:
    tokenizer = renderer.tokenizer
    limits = [int(given.get("max_gen_toks", _MOST_NEW_TOKENS)) for _, given in requests]
    found = [""] * len(requests)
    for most in sorted(set(limits)):
        places = [place for place, limit in enumerate(limits) if limit == most]
        room = max(1, renderer.limit - most)
        said = complete(
            model,
            [ask.encoded(requests[place][0], renderer)[-room:] for place in places],
            stop_ids=tokenizer.stop_ids, max_new_tokens=most, pad_id=tokenizer.pad_id, progress=progress,
        )  # fmt: skip
        for place, entry in zip(places, said, strict=True):
            text = tokenizer.decode(list(entry.ids))
            for stop in requests[place][1].get("until", ()):
                text = text.split(stop)[0] if stop else text
            found[place] = text
    return found
