"""A model behind an OpenAI-compatible endpoint as an opponent: the same messages, temperature 0, the same limit."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.core import artefact, digest
from metier.core.errors import DataError, SettingsError
from metier.core.progress import Progress
from metier.core.types import Row, TextRow
from metier.score.graders import judge
from metier.score.graders.settings import JudgeSettings
from metier.text.render import Renderer, conversation_of
from metier.text.turns import reference

_KIND = "opponent"

Chat = tuple[list[dict[str, Any]], list[dict[str, Any]]]
"""Messages before the answer, and tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An endpoint's model, and how it is asked. `limit`: most tokens of an answer."""

    model: str
    settings: JudgeSettings
    limit: int
    seed: int

    @property
    def decoding(self) -> dict[str, Any]:
        """Return what is asked of the endpoint beside the messages."""
        return {"temperature": 0, "seed": self.seed, "max_tokens": self.limit}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an endpoint's model answered, row by row, whether it ended by itself, and what the endpoint calls it."""

    outputs: tuple[str, ...]
    ended: tuple[bool, ...]
    names: tuple[str, ...]


def chats(rows: Sequence[Row], renderer: Renderer) -> list[Chat]:
    """Return what is sent for each row: the turns before its last answer, with the project's system turn.

    Raises:
        DataError: a row has no answer to compare with.
    """
    found = []
    for row in rows:
        if isinstance(row, TextRow):
            raise DataError(f"{row.source}: plain text", "rows with questions", "an endpoint does not tell its loss")
        conversation = conversation_of(row, renderer)
        roles = [message["role"] for message in conversation.messages]
        last = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else 0
        messages = [_as_sent(message) for message in conversation.messages[:last]]
        found.append((messages, [dict(tool) for tool in conversation.tools or ()]))
    return found


def ask(remote: Remote, asked: Sequence[Chat], store: Path, progress: Progress) -> Said:
    """Ask an endpoint everything, or take what it said to the same before: an answer is paid once.

    Args:
        remote: the endpoint.
        asked: what is sent.
        store: the project's `.metier` folder; answers are kept in its cache.
        progress: told of every answer.

    Raises:
        SettingsError: no endpoint is named.
        DataError: a row was not answered; what was answered is kept.
    """
    if remote.settings.url is None or not remote.settings.url.startswith(("http://", "https://")):
        raise SettingsError(
            f"evaluate.judge.url: {remote.settings.url or 'not set'}",
            "the address of an OpenAI-compatible endpoint up to /v1", "it is where `remote:` models are, too",
        )  # fmt: skip
    with (
        progress.task(f"remote: {remote.model}", len(asked)) as bar,
        ThreadPoolExecutor(remote.settings.at_once) as pool,
    ):
        found = []
        for entry in pool.map(lambda chat: _kept(remote, chat, store), asked):
            found.append(entry)
            bar.advance(1)
    failed = [entry for entry in found if isinstance(entry, str)]
    if failed:
        raise DataError(
            f"remote:{remote.model}: {len(failed)} of {len(found)} rows were not answered ({failed[0]})",
            "an answer to every row: those alone that were answered would be other rows",
            "look at the endpoint; the same command goes on and pays nothing twice",
        )  # fmt: skip
    whole = [entry for entry in found if not isinstance(entry, str)]
    return Said(
        outputs=tuple(entry["output"] for entry in whole), ended=tuple(entry["ended"] for entry in whole),
        names=tuple(sorted({entry["name"] for entry in whole})),
    )  # fmt: skip


def _kept(remote: Remote, chat: Chat, store: Path) -> dict[str, Any] | str:
    """Return an answer from the cache, or ask for it and keep it; a sentence says why there is none."""
    key = digest.of_value([remote.settings.url, remote.model, remote.decoding, list(chat)])
    path = store / "cache" / "remote" / f"{key[:32]}.json"
    if path.is_file():
        return artefact.read_json(path)
    messages, tools = chat
    extra = {key: value for key, value in remote.decoding.items() if key != "temperature"}
    extra |= {"tools": tools} if tools else {}
    why = ""
    for _ in range(remote.settings.tries):
        try:
            data = judge.post((messages, extra), remote.model, remote.settings)
            choice = data["choices"][0]
            message = choice["message"]
            entry = {
                "output": reference({"content": message.get("content"), "tool_calls": message.get("tool_calls") or ()}),
                "ended": choice.get("finish_reason") != "length",
                "name": str(data.get("model", remote.model)),
            }
        except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            why = f"{type(error).__name__}: {str(error)[:120]}"
            continue
        artefact.write_file(path, json.dumps(entry, ensure_ascii=False) + "\n")
        return entry
    return why


def _as_sent(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as the protocol wants it: the arguments of calls are text."""
    calls = message.get("tool_calls")
    if not calls:
        return dict(message)
    return {**message, "tool_calls": [_call(dict(call)) for call in calls]}


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = dict(call.get("function", {}))
    if not isinstance(function.get("arguments"), str):
        function["arguments"] = json.dumps(function.get("arguments", {}), ensure_ascii=False)
    return {**call, "function": function}
