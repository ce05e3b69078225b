"""Answers that cannot but follow a JSON schema, a choice or a pattern: which tokens may come next (llguidance)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metier.core import extras
from metier.core.errors import DataError
from metier.text.tokenizer import Tokenizer

_EXTRA = "serve"


class Grammars:
    """Makes constraints for one tokenizer.

    Args:
        tokenizer: of the base.
        stop_ids: tokens that may end a complete answer.
    """

    def __init__(self, tokenizer: Tokenizer, stop_ids: Sequence[int]) -> None:
        self._library = extras.load("llguidance", _EXTRA)
        if not stop_ids:
            raise DataError("a base without a stop token", "one: nothing could end a constrained answer")
        self._tokenizer = self._library.LLTokenizer(tokenizer.as_json(), eos_token=list(stop_ids))

    def json(self, schema: Mapping[str, Any] | None = None) -> "Grammar":
        """Return a constraint to JSON that follows a schema; None: any JSON object.

        Raises:
            DataError: the schema cannot be followed; says which part of it.
        """
        wanted = json.dumps({"type": "object"} if schema is None else dict(schema))
        try:
            return self._made(self._library.LLMatcher.grammar_from_json_schema(wanted), "the JSON schema")
        except ValueError as error:
            raise DataError(f"the JSON schema: {error}", "a JSON schema") from error

    def tagged(self, before: str, schema: Mapping[str, Any], after: str) -> "Grammar":
        """Return a constraint to `before`, JSON that follows a schema, and `after`."""
        lark = f"start: {json.dumps(before)} body {json.dumps(after)}" if after else f"start: {json.dumps(before)} body"
        return self._made(
            self._library.LLMatcher.grammar_from_lark(f"{lark}\nbody: %json {json.dumps(dict(schema))}\n"), "the tool"
        )

    def among_text(self, before: str, schema: Mapping[str, Any], after: str) -> "Grammar":
        """Return a constraint to any text, in which JSON that follows a schema, and `after`, follow each `before`."""
        ending = json.dumps(after) if after else ""
        return self._made(
            self._library.LLMatcher.grammar_from_lark(
                f"start: call* text\ntext: TEXT\ncall: open body {ending}\nopen[lazy]: TEXT {json.dumps(before)}\n"
                f"TEXT: /(.|\\n)*/\nbody: %json {json.dumps(dict(schema))}\n"
            ),
            "the tools",
        )

    def one_of(self, texts: Sequence[str]) -> "Grammar":
        """Return a constraint to exactly one of some texts."""
        choices = " | ".join(json.dumps(text) for text in texts)
        return self._made(self._library.LLMatcher.grammar_from_lark(f"start: {choices}\n"), "the choices")

    def _made(self, grammar: str, what: str) -> "Grammar":
        matcher = self._library.LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise DataError(f"{what}: {' '.join(matcher.get_error().split())[:300]}", "one that can be followed")
        return Grammar(matcher)


class Grammar:
    """A constraint on its way through one answer."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def fresh(self) -> "Grammar":
        """Return the same constraint at the beginning of another answer."""
        copy = self._matcher.deep_copy()
        copy.reset()
        return Grammar(copy)

    def allowed(self) -> np.ndarray:
        """Return bool [V]: which tokens may come next.

        Raises:
            DataError: the grammar became too large to follow.
        """
        bits = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            said = (self._matcher.get_error().splitlines() or [""])[0]
            raise DataError(f"the grammar cannot be followed: {said[:200]}", "a simpler one, without circles")
        return np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little").astype(bool)

    def accept(self, token: int) -> None:
        """Move on by one token."""
        self._matcher.consume_token(token)
