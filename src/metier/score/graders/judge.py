"""A judge behind an OpenAI-compatible endpoint: asked, asked again when it fails, its words read; imports no torch."""

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from metier.core.errors import SettingsError
from metier.core.progress import Progress
from metier.score.graders.settings import JudgeSettings

Read = TypeVar("Read")
Chat = Sequence[dict[str, Any]]

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_MOST_BYTES = 1 << 20
_SENT_AS = {"max_completions_tokens": "max_completion_tokens"}
"""What OpenAI's graders call a parameter -> what its chat completions call it."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the judge is where it was said to be."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        """Refuse."""


def require(settings: JudgeSettings, model: str | None) -> str:
    """Return the model to ask.

    Raises:
        SettingsError: no endpoint, no model, or an address that is none.
    """
    if settings.url is None:
        raise SettingsError("judge.url: not set", "the address of an OpenAI-compatible endpoint up to /v1")
    if not settings.url.startswith(("http://", "https://")):
        raise SettingsError(f"judge.url: {settings.url!r}", "an address that begins with http:// or https://")
    chosen = model or settings.model
    if chosen is None:
        raise SettingsError("judge.model: not set", "the judge's model, here or in the grader")
    return chosen


def ask_all(
    requests: Sequence[tuple[Chat, dict[str, Any]]],
    read: Callable[[str], Read | None],
    *,
    model: str,
    settings: JudgeSettings,
    progress: Progress,
) -> list[Read | str]:
    """Ask the judge everything, several at once; a judgement that fails is a sentence that says why.

    Args:
        requests: messages, and what is sent along with them.
        read: gives the judgement that an answer holds, None where it cannot be read.
        model: the judge's model.
        settings: where it is.
        progress: told of every judgement.
    """
    with progress.task(f"judge: {model}", len(requests)) as bar, ThreadPoolExecutor(settings.at_once) as pool:

        def one(request: tuple[Chat, dict[str, Any]]) -> Read | str:
            return _tried(request, read, model, settings)

        found = []
        for judgement in pool.map(one, requests):
            found.append(judgement)
            bar.advance(1)
    return found


def _tried(
    request: tuple[Chat, dict[str, Any]], read: Callable[[str], Read | None], model: str, settings: JudgeSettings
) -> Read | str:
    why = ""
    for _ in range(settings.tries):
        try:
            said = _ask(request, model, settings)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            why = f"the judge did not answer ({type(error).__name__}: {str(error)[:120]})"
            continue
        judgement = read(said)
        if judgement is not None:
            return judgement
        why = f"the judge's answer cannot be read: {said[:80]!r}"
    return why


def _ask(request: tuple[Chat, dict[str, Any]], model: str, settings: JudgeSettings) -> str:
    return str(post(request, model, settings)["choices"][0]["message"]["content"])


def post(request: tuple[Chat, dict[str, Any]], model: str, settings: JudgeSettings) -> dict[str, Any]:
    """Send one request, at temperature 0; returns the endpoint's answer as it stands, which may be of any form.

    Raises:
        OSError: the endpoint cannot be reached, or refuses.
        ValueError: what it says is no JSON.
    """
    messages, extra = request
    told = {_SENT_AS.get(name, name): value for name, value in extra.items() if value is not None}
    body = {"model": model, "messages": list(messages), "temperature": 0, **told}
    headers = {"Content-Type": "application/json"}
    if settings.key_variable and (key := os.environ.get(settings.key_variable)):
        headers["Authorization"] = f"Bearer {key}"
    address = f"{(settings.url or '').rstrip('/')}/chat/completions"
    sent = urllib.request.Request(address, data=json.dumps(body).encode(), headers=headers, method="POST")
    with urllib.request.build_opener(_NoRedirect).open(sent, timeout=settings.seconds) as answer:
        return json.loads(answer.read(_MOST_BYTES))


def read_number(low: float, high: float) -> Callable[[str], float | None]:
    """Return a reader of a number in [low, high]: the last one in the answer, so that reasons may stand before it."""

    def read(said: str) -> float | None:
        numbers = [float(text) for text in _NUMBER.findall(said)]
        return numbers[-1] if numbers and low <= numbers[-1] <= high else None

    return read


def read_label(labels: Sequence[str]) -> Callable[[str], str | None]:
    """Return a reader of one of some labels: the whole answer, or the only one that stands in its last line."""

    def read(said: str) -> str | None:
        plain = said.strip().strip("\"'.` ").casefold()
        whole = [label for label in labels if label.casefold() == plain]
        if whole:
            return whole[0]
        last = (said.strip().splitlines() or [""])[-1].casefold()
        inside = [label for label in labels if re.search(rf"(?<!\w){re.escape(label.casefold())}(?!\w)", last)]
        return inside[0] if len(inside) == 1 else None

    return read
