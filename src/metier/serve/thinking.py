"""What a model thinks before it answers, told apart from the answer while both are written; see `text.thought`."""

from collections.abc import Iterable
from typing import Literal

from metier.text.render import Renderer
from metier.text.thought import MARKS

Kind = Literal["reasoning_content", "content"]
"""What other servers call the two in a message."""

Part = tuple[Kind, str]


class Thinking:
    """Divides one answer as it comes.

    Args:
        renderer: of the model; where its template knows no thinking, all is answer.
        prompt: the end of what the model goes on from: the template may have begun the thinking there.
    """

    def __init__(self, renderer: Renderer, prompt: str) -> None:
        marks = [pair for pair in MARKS if pair[1] in renderer.template.source]
        self._opening, self._closing = marks[0] if marks else ("", "")
        self._place: Literal["before", "inside", "answer"] = "before" if marks else "answer"
        if marks and prompt.rstrip().endswith(self._opening):
            self._place = "inside"
        self._held = ""
        self._begun = self._over = False

    def feed(self, text: str) -> list[Part]:
        """Return what can be told of an answer by now, `text` being what comes next of it."""
        self._held += text
        parts: list[Part] = []
        while True:
            place = self._place
            parts += {"before": self._before, "inside": self._inside, "answer": self._answer}[place]()
            if self._place == place:
                return parts

    def end(self) -> list[Part]:
        """Return what was held back."""
        held, self._held = self._held, ""
        if self._place == "inside":
            return _told("reasoning_content", held.rstrip())
        return _told("content", held)

    def _before(self) -> Iterable[Part]:
        """Wait until it is known whether a thought begins; white space around one is not told."""
        said = self._held.lstrip()
        if self._over:
            self._held = said
        if said.startswith(self._opening):
            self._held, self._place, self._begun = said[len(self._opening) :], "inside", False
        elif not self._opening.startswith(said):
            self._place = "answer"
        return ()

    def _inside(self) -> Iterable[Part]:
        """Tell the thought but for white space at its ends, and for what may be the beginning of its end."""
        if not self._begun:
            self._held = self._held.lstrip()
        thought, closed, after = self._held.partition(self._closing)
        if closed:
            self._held, self._place, self._over = after, "before", True
            return _told("reasoning_content", thought.rstrip())
        sure = len(thought) - _begins(thought, self._closing)
        told = thought[:sure].rstrip()
        self._held = self._held[len(told) :]
        self._begun = self._begun or bool(told)
        return _told("reasoning_content", told)

    def _answer(self) -> Iterable[Part]:
        held, self._held = self._held, ""
        return _told("content", held)


def divided(text: str, thinking: Thinking) -> tuple[str, str]:
    """Return the thought and the answer of a whole text."""
    parts = [*thinking.feed(text), *thinking.end()]
    thought, answer = ("".join(said for kind, said in parts if kind == wanted) for wanted in _KINDS)
    return thought, answer


_KINDS: tuple[Kind, Kind] = ("reasoning_content", "content")


def _told(kind: Kind, text: str) -> list[Part]:
    return [(kind, text)] if text else []


def _begins(text: str, mark: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a mark."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:size])), 0)
