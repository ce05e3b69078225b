"""llama.cpp's server on a GGUF file, through the prebuilt `xllamacpp`."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metier.core import extras
from metier.promote.far.answers import Next, Said
from metier.promote.far.wire import ask, running

EXTRA = "llama-cpp"
_TOLD = 128
_SURE = 1000


class Llama:
    """A running server of llama.cpp."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._letter = ask(address, "/tokenize", {"content": "a", "add_special": False})["tokens"][-1]

    def following(self, ids: Sequence[int], places: Sequence[int]) -> list[Next]:
        """Return what it would say after ids[:place] for each place."""
        return [self._next(list(ids[:place])) for place in places]

    def _next(self, ids: list[int]) -> Next:
        # It tells no chances beside a stop token or a part of a letter: it is made to say a letter. What it tells are
        # the chances before that.
        answer = self._complete(ids, 1, n_probs=_TOLD, logit_bias=[[self._letter, _SURE]])
        top = answer["completion_probabilities"][0]["top_logprobs"]
        return Next(best=frozenset([top[0]["id"]]), chances={entry["id"]: entry["logprob"] for entry in top})

    def stops_at(self, ids: Sequence[int], token: int) -> bool:
        """Tell whether an answer to these ids that is made to begin with a token ends there."""
        return self._complete(list(ids), 2, logit_bias=[[token, _SURE]])["stop_type"] == "eos"

    def converse(self, messages: Sequence[Mapping[str, Any]], most_tokens: int) -> Said:
        """Let it answer a conversation greedily."""
        said = ask(
            self._address,
            "/v1/chat/completions",
            {"messages": list(messages), "max_tokens": most_tokens, "temperature": 0},
        )
        choice = said["choices"][0]
        prompt = ask(self._address, "/apply-template", {"messages": list(messages)})["prompt"]
        return Said(
            text=choice["message"]["content"] or "",
            stopped=choice["finish_reason"] == "stop",
            prompt=tuple(self.tokens(prompt)),
        )

    def tokens(self, text: str) -> list[int]:
        """Return the ids of a prompt, special tokens read, as the server puts it before an answer."""
        body = {"content": text, "add_special": True, "parse_special": True}
        return ask(self._address, "/tokenize", body)["tokens"]

    def _complete(self, ids: list[int], tokens: int, **more: Any) -> Any:
        body = {"prompt": ids, "n_predict": tokens, "temperature": 0, "cache_prompt": True, "samplers": []}
        return ask(self._address, "/completion", body | more)


@contextmanager
def serving(model: Path, adapter: Path | None = None, *, context: int = 0) -> Iterator[Llama]:
    """Serve a GGUF file, with a GGUF adapter where one is given.

    Args:
        model: the file.
        adapter: the adapter's file.
        context: tokens that there is memory for; 0: as many as the file says.

    Raises:
        MissingExtraError: llama.cpp is not installed.
        RunError: llama.cpp does not load the file; with its own words.
    """
    extras.require(EXTRA)
    command = [sys.executable, "-m", "metier.promote.far.llama_child", str(model)]
    more = [str(adapter or ""), str(context)]
    with tempfile.TemporaryDirectory() as folder, running([*command, *more], Path(folder) / "log") as address:
        yield Llama(address)
