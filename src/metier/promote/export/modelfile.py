"""Ollama's Modelfile: the GGUF file, the chat template in Go's language, the stop tokens.

Ollama does not run Jinja templates. Most chat templates wrap every turn in the same words, by its role: those words are
found by rendering a few conversations, and the template is written only if it then gives the very prompts of the
reference rows. What depends on anything else (tools, places of turns) is refused rather than guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.core.errors import ModelError
from metier.promote.evidence import Evidence
from metier.promote.far.sample import conversations
from metier.text.render import Renderer, open_renderer
from metier.text.template import Template, TemplateRefusal
from metier.text.tokenizer import Tokenizer

_MARK = "\x11words\x11"
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What a template writes: `before` everything, around the words of each role, and where an answer begins."""

    before: str
    around: Mapping[str, tuple[str, str]]
    answer: str

    def text(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Write a conversation up to where the answer begins."""
        parts = [self.around[turn["role"]][0] + turn["content"] + self.around[turn["role"]][1] for turn in messages]
        return self.before + "".join(parts) + self.answer

    def go(self) -> str:
        """Return the template in Go's language, as Ollama documents it."""
        # No sign that trims (`{{-`): what stands between the braces is all that may be written.
        cases = "".join(
            f'{{{{ {"if" if place == 0 else "else if"} eq .Role "{role}" }}}}{start}{{{{ .Content }}}}{end}'
            for place, (role, (start, end)) in enumerate(self.around.items())
        )
        return f"{self.before}{{{{ range .Messages }}}}{cases}{{{{ end }}}}{{{{ end }}}}{self.answer}"


def write(evidence: Evidence, model: str) -> str:
    """Return the Modelfile of a run.

    Args:
        evidence: the run and its reference rows.
        model: name of the GGUF file beside it.

    Raises:
        ModelError: the chat template wraps turns in a way that cannot be written so.
    """
    words = evidence.words()
    renderer = open_renderer(evidence.run / "model", words.settings)
    turns = learn(renderer)
    for talk in conversations(evidence.run / "model", words, evidence.known):
        if _ids(renderer, turns.text(talk.messages)) != talk.prompt:
            raise _refused(f"the prompt of {talk.source} would be another one")
    tokenizer = renderer.tokenizer
    stops = [text for text, number in tokenizer.special_tokens.items() if number in tokenizer.stop_ids]
    lines = [f"FROM ./{model}", f'TEMPLATE """{turns.go()}"""', *(f'PARAMETER stop "{text}"' for text in stops)]
    most = Tokenizer.load(evidence.base.folder).context
    context = f"PARAMETER num_ctx {most}" if most else ""
    return "\n".join(["# Written by metier: ollama create NAME -f Modelfile", *lines, context]).rstrip() + "\n"


def learn(renderer: Renderer) -> Turns:
    """Find the words that a chat template puts around turns.

    Raises:
        ModelError: they depend on more than the role.
    """
    template = renderer.template
    user = _pieces(template, ["user"])
    two = _pieces(template, ["user", "assistant", "user"])
    whole = _pieces(template, ["system", "user"])
    opened = _render(template, ["user"], generation=True)
    closed = _render(template, ["user"], generation=False)
    if not opened.startswith(closed):
        raise _refused("where an answer begins changes what stands before it")
    answer = opened.removeprefix(closed)
    if len(two) != 4 or len(whole) != 3 or len(user) != 2:
        raise _refused("it leaves turns out, or writes them twice")
    before = _common(user[0], whole[0])
    starts = {"system": whole[0].removeprefix(before), "user": user[0].removeprefix(before)}
    ends = {"user": user[1], "assistant": two[2].removesuffix(starts["user"])}
    between = two[1].removeprefix(ends["user"])
    ends["system"] = whole[1].removesuffix(starts["user"])
    turns = Turns(
        before=before,
        around={role: ({**starts, "assistant": between}[role], ends[role]) for role in _ROLES},
        answer=answer,
    )
    for roles in (["user"], ["system", "user"], ["user", "assistant", "user"], ["system", "user", "assistant", "user"]):
        messages = [{"role": role, "content": _MARK} for role in roles]
        if turns.text(messages) != _render(template, roles, generation=True):
            raise _refused(f"a conversation of {', '.join(roles)} is not its turns one after another")
    written = "".join([turns.before, turns.answer, *(part for pair in turns.around.values() for part in pair)])
    if any(sign in written for sign in ('"""', "{{", "}}")):
        raise _refused("it writes signs that mean something else there")
    return turns


def _pieces(template: Template, roles: Sequence[str]) -> list[str]:
    return _render(template, roles, generation=False).split(_MARK)


def _render(template: Template, roles: Sequence[str], *, generation: bool) -> str:
    messages = [{"role": role, "content": _MARK} for role in roles]
    try:
        return template.render(messages, None, generation=generation)
    except TemplateRefusal as error:
        raise _refused(str(error)) from error


def _common(first: str, second: str) -> str:
    """Return how two texts begin alike, cut so that both go on with the same kind of sign."""
    pairs = enumerate(zip(first, second, strict=False))
    cut = first[: next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))]
    # A turn begins with its own sign: two signs that begin alike (<|user|>, <|system|>) are cut before them.
    place = max(cut.rfind("<"), cut.rfind("["))
    return cut[:place] if place >= 0 and not cut[place:].endswith((">", "]")) else cut


def _ids(renderer: Renderer, text: str) -> tuple[int, ...]:
    return tuple(renderer.tokenizer.encode(text, special=True))


def _refused(reason: str) -> ModelError:
    return ModelError(
        f"its chat template cannot be written for Ollama: {reason}", "turns that are wrapped by their role alone",
        "export it --to gguf and give Ollama a TEMPLATE of your own",
    )  # fmt: skip
