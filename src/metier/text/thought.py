"""Thinking aloud: what a model writes between `<think>` and `</think>` before it answers, as many templates have it.

It is learnt where rows hold it and templates print it; what is compared, graded and answered is what comes after.
"""

_OPEN, _CLOSE = "<think>", "</think>"
MARKS = ((_OPEN, _CLOSE), ("[THINK]", "[/THINK]"))
"""How thinking begins and ends; a tokenizer may hold these as control tokens, which no text shows."""


def before(thought: str, content: str) -> str:
    """Return an answer with what was thought before it, as templates read it out of the text again."""
    return f"{_OPEN}\n{thought.strip()}\n{_CLOSE}\n\n{content}"


def thinking(thought: str) -> dict[str, str]:
    """Return the fields of a turn in which templates look for what was thought."""
    return {"reasoning_content": thought, "thinking": thought}


def apart(content: str) -> tuple[str, str] | None:
    """Return what was thought and what is said, of an answer that begins with a thought as `before` writes it."""
    thought, closed, said = content.rpartition(_CLOSE)
    if not (closed and thought.startswith(_OPEN)):
        return None
    return thought.removeprefix(_OPEN).strip(), said.lstrip("\n")


def spoken(text: str) -> str:
    """Return what is said after any thinking; nothing where the thinking does not end."""
    for opening, closing in MARKS:
        _, closed, after = text.rpartition(closing)
        if closed:
            return after.lstrip()
        if text.lstrip().startswith(opening):
            return ""
    return text
