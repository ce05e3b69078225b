"""Which cleaning rules run, and what each does with what it finds."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from metier.core.settings import Settings


def _fix(value: object) -> object:
    return {True: "fix", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _drop(value: object) -> object:
    return {True: "drop", False: "off"}.get(value, value) if isinstance(value, bool) else value


Repair = Annotated[Literal["off", "flag", "fix"], BeforeValidator(_fix)]
"""A rule that can mend a text: true is `fix`, false is `off`."""

Judgement = Annotated[Literal["off", "flag", "drop"], BeforeValidator(_drop)]
"""A rule that can drop a row: true is `drop`, false is `off`."""


class CleanSettings(Settings):
    """What each rule does: `off`, `flag` (list the rows, change nothing), and `fix` or `drop`.

    Tool schemas, tool calls and what tools return are never touched.
    """

    encoding: Repair = "fix"
    """Text that was decoded wrongly once (`cafÃ©`). Fixed: nobody writes so, and a model would learn to."""

    unicode: Repair = "fix"
    """Invisible characters, control characters, exotic spaces, and letters not in Unicode's composed form (NFC).
    Fixed: two spellings of one word look alike to people and different to a tokenizer."""

    whitespace: Repair = "fix"
    """Line ends, spaces before them, more than two empty lines, and space around a turn. Fixed: it means nothing."""

    html: Repair = "flag"
    """Tags and entities (`<br>`, `&amp;`) outside code. Only flagged: they may be what the row is about."""

    signatures: Repair = "flag"
    """Signatures, quoted history and disclaimers of mails in what people ask. Only flagged: when you cut them here,
    cut them from what the model is asked later, too."""

    boilerplate: Literal["off", "flag"] = "flag"
    """Lines that stand word for word in many inputs. Only flagged; name them in `remove` to have them cut."""

    remove: tuple[str, ...] = ()
    """Lines to cut wherever they stand alone on a line, whatever their case."""

    refusals: Judgement = "flag"
    """Answers that refuse, or call themselves an AI. Only flagged: a refusal may be what you want to teach."""

    degenerate: Judgement = "drop"
    """Answers and documents that say nothing (only punctuation, `NaN`, `undefined`) or end in a loop. Dropped: a
    model learns to loop from few of them."""

    language: Judgement = "flag"
    """Rows in another language: one that is not in `languages`, or, where that is null, one that hardly any row is
    in. Only flagged: short texts are easily mistaken."""

    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] | None = None
    """Languages that rows may be in, as ISO 639 codes (`[en, de]`). null: those of most rows."""

    lengths: Judgement = "flag"
    """Answers and inputs that are far longer than the others. Only flagged: they may be the best ones."""

    conflicts: Judgement = "flag"
    """The same input with different labels; both places are told. Only flagged: one of them may be right."""

    formats: Judgement = "flag"
    """Answers that are not the JSON, or not of the fields and types, that nearly all other answers are. Only flagged:
    the odd ones may be the corrected ones."""

    mislabelled: Judgement = "flag"
    """Rows whose label a simple classifier, trained on the other rows, finds very unlikely. Only flagged, most
    doubtful first in the report: about half of them are only hard."""
