"""A real server on this machine that speaks the chat protocol, answers by rule, and misbehaves as it is told."""

import json
import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLOW_SECONDS = 1.5


def obliging(body: dict[str, Any]) -> str:
    """Answer every prompt of the package in the form it asks for, deterministically and in new words."""
    prompt = body["messages"][0]["content"]
    number = zlib.crc32(prompt.encode())
    if '"best"' in prompt:
        texts = re.findall(r'<answer number="\d+">\n(.*?)\n</answer>', prompt, re.S)
        sizes = [len(text) for text in texts]
        return json.dumps({"best": sizes.index(max(sizes)) + 1, "worst": sizes.index(min(sizes)) + 1})
    if prompt.startswith("Below") or "Translate" in prompt:
        text = re.findall(r"<(?:message|text)>\n(.*?)\n</", prompt, re.S)[-1]
        return json.dumps({"input": "Put differently " + " ".join(reversed(text.split()))})
    if '"answer"' not in prompt and "{" not in prompt:
        return f"An answer of its own to that, {'really ' * (body['seed'] % 3)}number {body['seed'] % 1000}."
    value = {
        "input": f"A wholly new question {number} about parcels that nobody sent yet",
        "answer": f"The reply to it is {number}.",
    }
    if "must be exactly one of" in prompt:
        value["answer"] = re.findall(r"Use: (\S+)", prompt)[0]
    if "belongs to the class" in prompt:
        value.pop("answer")
    return f"Sure:\n```json\n{json.dumps(value)}\n```" if number % 2 else json.dumps(value)


class Endpoint:
    """What the server was asked, and the faults it still has to commit."""

    def __init__(self, say: Callable[[dict[str, Any]], str] = obliging) -> None:
        self.say = say
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: deque[str] = deque()
        self.delay = 0.0
        self.url = ""
        self.lock = threading.Lock()

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.asked]


def _answer(endpoint: Endpoint, path: str, body: dict[str, Any], fault: str) -> tuple[int, str]:
    if path != "/v1/chat/completions":
        return 404, "no such path"
    if fault.isdigit():
        return int(fault), '{"error": "planted"}'
    if fault in ("malformed", "no choices"):
        return 200, '{"choices": [{"message"' if fault == "malformed" else '{"choices": []}'
    message = {"role": "assistant", "content": endpoint.say(body)}
    choice = {"message": message, "finish_reason": "length" if fault == "truncated" else "stop"}
    return 200, json.dumps({"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 20}})


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with endpoint.lock:
                endpoint.asked.append(body)
                endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
                fault = endpoint.faults.popleft() if endpoint.faults else ""
            time.sleep(SLOW_SECONDS if fault == "slow" else endpoint.delay)
            if fault == "hang up":
                self.close_connection = True
            else:
                self._send(*_answer(endpoint, self.path, body, fault))

        def _send(self, status: int, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            if status == 429:
                self.send_header("retry-after", "7")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            try:
                self.wfile.write(data)
            except BrokenPipeError:
                self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def served(say: Callable[[dict[str, Any]], str] = obliging) -> Iterator[Endpoint]:
    """Serve on a free port while the block runs."""
    endpoint = Endpoint(say)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(endpoint))
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
