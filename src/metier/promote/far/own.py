"""Our own server as a user starts it: the command line in a process of its own, at a free port."""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metier.core import extras
from metier.model.find import Base
from metier.promote.far.answers import Next, Said
from metier.promote.far.wire import ask, running
from metier.text.tokenizer import Tokenizer

DATABASE = "METIER_DATABASE"
"""Names the database of servers; this one is to have its own."""
_TOLD = 20
_SURE = 100
_QUESTIONS = 256
"""In one request; the server takes a few hundred."""


class Own:
    """A running `metier serve`; `tokenizer` is the model's, for the server tells tokens by their text."""

    def __init__(self, address: str, model: str, tokenizer: Tokenizer) -> None:
        self._address = address
        self._model = model
        texts: dict[str, list[int]] = {}
        for token in range(tokenizer.vocabulary):
            texts.setdefault(tokenizer.decode([token], skip_special=False), []).append(token)
        self._texts = {text: frozenset(tokens) for text, tokens in texts.items()}
        self._tokens = {text: tokens[0] for text, tokens in texts.items() if len(tokens) == 1}

    def following(self, ids: Sequence[int], places: Sequence[int]) -> list[Next]:
        """Return what it would say after ids[:place] for each place."""
        told = self._complete(ids, echo=True, max_tokens=0, logprobs=_TOLD)["logprobs"]
        return [self._next(told, place, ids[place]) for place in places]

    def _next(self, told: Any, place: int, label: int) -> Next:
        """Read one place: texts that stand for several tokens (parts of letters) count as any other."""
        top: dict[str, float] = told["top_logprobs"][place]
        chances = {self._tokens[text]: chance for text, chance in top.items() if text in self._tokens}
        best = self._texts.get(max(top, key=lambda text: top[text]), frozenset())
        return Next(best=best, chances=chances | {label: told["token_logprobs"][place]})

    def stops_at(self, ids: Sequence[int], token: int) -> bool:
        """Tell whether an answer to these ids that is made to begin with a token ends there."""
        return self._complete(ids, max_tokens=2, logit_bias={str(token): _SURE})["finish_reason"] == "stop"

    def converse(self, messages: Sequence[Mapping[str, Any]], most_tokens: int) -> Said:
        """Let it answer a conversation greedily."""
        body = {"model": self._model, "messages": list(messages), "max_tokens": most_tokens, "temperature": 0}
        said = ask(self._address, "/v1/chat/completions", body)
        choice = said["choices"][0]
        return Said(
            text=choice["message"]["content"] or "",
            stopped=choice["finish_reason"] == "stop",
            prompt=int(said["usage"]["prompt_tokens"]),
        )

    def decide(self, messages: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> tuple[list[float], int]:
        """Return how likely a head thinks each label, one question a label, and how many tokens it read."""
        found: list[float] = []
        read = 0
        for start in range(0, len(labels), _QUESTIONS):
            asked = [{"type": "predicate", "instructions": label} for label in labels[start : start + _QUESTIONS]]
            body = {"model": self._model, "input": list(messages), "questions": asked}
            told = ask(self._address, "/v1/decisions", body)
            found += [float(answer["probability"]) for answer in told["answers"]]
            read = int(told["usage"]["input_tokens"])
        return found, read

    def _complete(self, ids: Sequence[int], **more: Any) -> Any:
        body = {"model": self._model, "prompt": list(ids), "temperature": 0}
        return ask(self._address, "/v1/completions", body | more)["choices"][0]


@contextmanager
def serving_own(run: Path, base: Base) -> Iterator[Own]:
    """Serve a run from a project that holds nothing else, so that what is asked is no traffic of anybody's.

    Args:
        run: a finished run.
        base: that it was trained on.

    Raises:
        MissingExtraError: the server is not installed.
        RunError: it does not start; with its own words.
    """
    extras.require("serve")
    with tempfile.TemporaryDirectory() as folder:
        _write_project(Path(folder), run, base)
        command = [sys.executable, "-m", "metier", "serve", "--project", folder, "--serve.port", "0"]
        with running(command, Path(folder) / "log", without=(DATABASE,)) as address:
            yield Own(address, run.name, Tokenizer.load(run / "model"))


def _write_project(folder: Path, run: Path, base: Base) -> None:
    """Write a project of one base and one run."""
    named: Any = base.name if base.kind in ("bundled", "hub") else str(base.folder.resolve())
    settings = {"base": {"config": named} if base.kind == "config" else named, "data": "none.jsonl"}
    (folder / "metier.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    runs = folder / ".metier" / "runs"
    runs.mkdir(parents=True)
    (runs / run.name).symlink_to(run.resolve(), target_is_directory=True)
