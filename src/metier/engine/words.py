"""Tokens become text as they come: no half characters, and nothing of what may turn out to be a stop; no torch."""

from collections.abc import Callable, Sequence

_UNFINISHED = "\ufffd"
_CONTEXT = 6


class Words:
    """The text of one answer.

    Args:
        decode: ids to text.
        stops: texts that end the answer and are not part of it.
    """

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = tuple(stop for stop in stops if stop)
        self._ids: list[int] = []
        self._start = self._done = 0
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """Return the text that is certain by now and was not shown before; sets `stopped` at a stop text."""
        self._ids.append(token)
        before = self._decode(self._ids[self._start : self._done])
        now = self._decode(self._ids[self._start :])
        if now.endswith(_UNFINISHED) and len(self._ids) - self._done < _CONTEXT:
            return ""
        self._start, self._done = max(self._start, len(self._ids) - _CONTEXT), len(self._ids)
        return self._certain(now[len(before) :])

    def rest(self) -> str:
        """Return what was held back, at the end of the answer."""
        left = ""
        if not self.stopped:
            before = self._decode(self._ids[self._start : self._done])
            left = self._certain(self._decode(self._ids[self._start :])[len(before) :])
        held, self._held = self._held, ""
        return left + ("" if self.stopped else held)

    def _certain(self, text: str) -> str:
        """Hold back the longest end that a stop could begin with."""
        text = self._held + text
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        longest = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - longest :]
        return text[: len(text) - longest]


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that `stop` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
