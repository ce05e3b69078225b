"""Another server with the same API that answers for this one: vLLM, llama.cpp, or a second metier; no torch.

Keys, limits, the audit log and traces stay here. What the other server says is told as it says it.
"""

import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from metier.core import extras
from metier.serve.asking import Asking
from metier.serve.desk import Desk
from metier.serve.refusal import Refusal
from metier.serve.traces import Trace

_END = "[DONE]"
_KNOWN_SECONDS = 5.0
"""How long the names of its models are remembered."""


class Upstream:
    """The other server.

    Args:
        address: of its API, such as http://127.0.0.1:8001/v1.
        key: that it wants; empty: none.
        seconds: how long an answer may take.

    Raises:
        MissingExtraError: httpx2 is not installed.
    """

    def __init__(self, address: str, *, key: str, seconds: float) -> None:
        self._library: Any = extras.load("httpx2", "upstream")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client: Any = self._library.AsyncClient(
            base_url=address.rstrip("/"), headers=headers, timeout=seconds, follow_redirects=False, trust_env=False
        )
        self._known: tuple[float, dict[str, int | None]] = (-_KNOWN_SECONDS, {})

    async def models(self) -> dict[str, Any]:
        """Return what it serves.

        Raises:
            Refusal: it does not answer.
        """
        return await self._asked("GET", "/models", None)

    async def require(self, name: str, bias: Mapping[str, float]) -> None:
        """Check that it serves a model, and that tokens are the model's: llama.cpp's server minds neither.

        Raises:
            Refusal: it does not serve it, does not answer, or `bias` names a token that is none.
        """
        now = time.monotonic()
        if name not in self._known[1] or now - self._known[0] > _KNOWN_SECONDS:
            self._known = (now, _vocabularies(await self.models()))
        if name not in self._known[1]:
            raise Refusal(404, f"model {name[:80]!r} is not served here", param="model", code="model_not_found")
        size = self._known[1][name]
        if size is not None and (strange := [each for each in bias if not each.isdecimal() or int(each) >= size]):
            raise Refusal(
                400, f"logit_bias: {strange[0][:40]!r} is no token; wanted: ids below {size}", param="logit_bias"
            )

    async def whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return its answer; raises as `models` does, and what it refuses itself."""
        return await self._asked("POST", path, body)

    async def parts(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Yield the parts of its answer; raises as `whole` does."""
        try:
            async with self._client.stream("POST", path, json=body) as answer:
                if answer.status_code != 200:
                    raise _refusal(answer.status_code, await answer.aread())
                async for line in answer.aiter_lines():
                    data = line.removeprefix("data:").strip()
                    if line.startswith("data:") and data != _END:
                        yield json.loads(data)
        except (self._library.HTTPError, ValueError) as error:
            raise _gone() from error

    async def _asked(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            answer = await self._client.request(method, path, json=body)
            if answer.status_code != 200:
                raise _refusal(answer.status_code, answer.content)
            return answer.json()
        except (self._library.HTTPError, ValueError) as error:
            raise _gone() from error

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


def _vocabularies(listed: Any) -> dict[str, int | None]:
    """Return the names in a list of models, the further ones of llama.cpp's too, with their tokens where it says so."""
    try:
        return {
            str(name): (each.get("meta") or {}).get("n_vocab")
            for each in listed["data"]
            for name in (each["id"], *(each.get("aliases") or ()))
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise _gone() from error


def _gone() -> Refusal:
    return Refusal(502, "the server behind this one does not answer, or not as it should", code="upstream")


def _refusal(status: int, content: bytes) -> Refusal:
    """Return the refusal of the other server as one of ours; a fault of its inside stays there."""
    try:
        error = json.loads(content)["error"]
        message, param, code = str(error["message"]), error.get("param"), error.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, param, code = f"the server behind this one answers {status}", None, "upstream"
    if status >= 500 or status in (401, 403):  # its key is ours to put right, not the caller's
        return Refusal(502, "the server behind this one could not do this", code="upstream")
    return Refusal(status, message[:2000], param=param, code=code)


class Handed:
    """One request on its way through the other server, counted and recorded when it ends, however it ends."""

    def __init__(self, desk: Desk, upstream: Upstream, asking: Asking, body: dict[str, Any]) -> None:
        self._desk = desk
        self._upstream = upstream
        self._asking = asking
        self._body = body
        self._started = time.perf_counter()
        self._first: float | None = None
        self._finish = "refused"
        self._usage: dict[str, Any] = {}
        self._texts: list[str] = []
        self._model = ""  # known to be served; a name of the request's own would be a label of the metrics for ever
        self._wanted = int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)
        self._reserved = 0

    async def whole(self, path: str) -> dict[str, Any]:
        """Return the answer.

        Raises:
            Refusal: it is none.
        """
        try:
            await self._begin()
            answer = await self._upstream.whole(path, self._body)
            self._finish = "stop"
            self._read(answer)
            return self._named(answer)
        finally:
            self._record()

    async def parts(self, path: str) -> AsyncGenerator[dict[str, Any]]:
        """Yield the parts of the answer; the usage is always asked for, and told to those who asked for it.

        Raises:
            Refusal: it is none.
        """
        wanted = bool((self._body.get("stream_options") or {}).get("include_usage"))
        body = self._body | {"stream_options": {"include_usage": True}}
        try:
            await self._begin()
            async with aclosing(self._upstream.parts(path, body)) as parts:
                async for part in parts:
                    self._finish = "cancelled" if self._finish == "refused" else self._finish
                    self._read(part)
                    if part.get("choices") or wanted:
                        yield self._named(part)
        finally:
            self._record()

    async def _begin(self) -> None:
        await self._upstream.require(self._body["model"], self._body.get("logit_bias") or {})
        self._model = self._body["model"]
        self._desk.limiter.reserve(self._asking.caller, self._wanted)
        self._reserved = self._wanted

    def _named(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return an answer under the id of its trace, so that feedback finds it."""
        return answer | {"id": self._asking.id} if "id" in answer else answer

    def _read(self, answer: dict[str, Any]) -> None:
        self._usage = answer.get("usage") or self._usage
        for choice in answer.get("choices") or ():
            self._finish = choice.get("finish_reason") or self._finish
            said = choice.get("delta") or choice.get("message") or choice
            text = said.get("content") or said.get("text") or ""
            if text and self._first is None:
                self._first = time.perf_counter()
            if choice.get("index", 0) == 0:
                self._texts.append(text)

    def _record(self) -> None:
        details = self._usage.get("prompt_tokens_details") or {}
        prompt, written = int(self._usage.get("prompt_tokens", 0)), int(self._usage.get("completion_tokens", 0))
        cached = int(details.get("cached_tokens") or 0)
        desk, asking = self._desk, self._asking
        desk.limiter.settle(asking.caller, reserved=self._reserved, used=prompt + written)
        first = None if self._first is None else (self._first - self._started) * 1e3
        keeps = desk.recorder.keeps(asking.id)
        trace = Trace(
            id=asking.id, time=time.time(), route=asking.route, caller=asking.caller.id, user=asking.user,
            asked=self._body["model"], model=self._model, base="", digest="", prompt_tokens=prompt,
            cached_tokens=cached, completion_tokens=written, first_token_ms=first,
            total_ms=(time.perf_counter() - self._started) * 1e3, finish=self._finish,
            cost=desk.settings.record.prices.of(prompt, cached, written),
            prompt=json.dumps(self._body.get("messages") or self._body.get("prompt")) if keeps else None,
            answer="".join(self._texts) if keeps else None,
        )  # fmt: skip
        desk.meters.count(trace)
        if desk.settings.record.traces or desk.settings.record.spans:
            desk.recorder.trace(trace, parent=asking.parent)
