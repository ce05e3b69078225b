"""The preflight: looks at the very tokens that would train and says whether they are what was meant."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np

from metier.core.errors import ProofError
from metier.core.progress import Progress, Silent
from metier.core.types import Dropped, LabelledRow, Row, TextRow
from metier.text import readback
from metier.text.readback import Missed
from metier.text.render import NOTHING_LEARNT, TOO_LONG, Renderer, render
from metier.text.rendered import Rendered, render_rows

_FEWEST_OF_A_LABEL = 5
"""Labels with fewer rows are not judged by how many of them are lost."""

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check: what was seen, and what to do when it is not well.

    `doubt`: it may be meant so; it is said, and nothing is refused.
    """

    name: str
    ok: bool
    detail: str
    do: str = ""
    doubt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """All checks, and counts of rows, sequences, tokens, learnt tokens and dropped rows by reason."""

    findings: tuple[Finding, ...]
    counts: Mapping[str, int]

    @property
    def ok(self) -> bool:
        """Whether nothing stands against training on these rows."""
        return all(finding.ok for finding in self.findings)

    @property
    def doubts(self) -> list[str]:
        """What should be said before the rows are learnt, each as a sentence."""
        return [f"{finding.name}: {finding.detail}; {finding.do}" for finding in self.findings if finding.doubt]

    def raise_if_broken(self) -> None:
        """Refuse to go on.

        Raises:
            ProofError: a check failed; names all that did.
        """
        broken = [finding for finding in self.findings if not finding.ok]
        if broken:
            found = "; ".join(f"{finding.name}: {finding.detail}" for finding in broken)
            advice = "; ".join(dict.fromkeys(finding.do for finding in broken if finding.do))
            raise ProofError(found, "rows that train what they say", advice)


def check(
    rows: Items[Row], renderer: Renderer, *, rendered: Rendered | None = None, progress: Progress | None = None
) -> Proof:
    """Check how rows are rendered.

    Args:
        rows: all rows that would train.
        renderer: what renders them.
        rendered: the rows as rendered already; None renders them here.
        progress: who listens to that rendering.

    Raises:
        DataError: rows of a kind that cannot be learnt.
    """
    try:
        done = render_rows(rows, renderer, progress or Silent()) if rendered is None else rendered
    except ProofError as error:
        return Proof(findings=(Finding(name="prefix", ok=False, detail=error.found, do=error.do),), counts={})
    missed = readback.missed(done, rows, renderer)
    findings = (
        _learnt(done),
        _stops(done, rows, renderer),
        _beginning(done, renderer),
        _lost(done, rows, renderer),
        _prefix(done, rows),
        _answers(missed),
        _questions(missed),
    )
    return Proof(findings=findings, counts=_counts(done, rows))


def paint(row: Row, renderer: Renderer) -> list[tuple[str, bool]]:
    """Return a row as the model reads it: pieces of text, and whether each is learnt. Control tokens are shown.

    Raises:
        ProofError: see `render.render`.
    """
    result = render(row, renderer)
    if isinstance(result, Dropped):
        return [(f"dropped: {result.reason} ({result.detail})", False)]
    pieces: list[tuple[str, bool]] = []
    for number, sequence in enumerate(result):
        pieces += [("\n\n", False)] if number else []
        learnt = sequence.weights > 0
        borders = [0, *(np.flatnonzero(np.diff(learnt)) + 1), len(sequence)]
        texts = [renderer.tokenizer.decode(sequence.ids[:border], skip_special=False) for border in borders]
        for place, start in enumerate(borders[:-1]):
            pieces.append((texts[place + 1][len(texts[place]) :], bool(learnt[start])))
    return pieces


def _learnt(rendered: Rendered) -> Finding:
    """Look for sequences that teach nothing."""
    empty = [number for number in range(len(rendered)) if not _weights(rendered, number).any()]
    if not len(rendered):
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in _reasons(rendered).items())
        return Finding(name="learnt tokens", ok=False, detail=f"no row is left: {reasons or 'there were none'}")
    if empty:
        return Finding(
            name="learnt tokens",
            ok=False,
            detail=f"{len(empty):,} sequences teach nothing ({_examples(rendered, empty)})",
            do="give each row an assistant turn with a weight above 0",
        )
    tokens = int((rendered.weights > 0).sum())
    return Finding(name="learnt tokens", ok=True, detail=f"{tokens:,} of {len(rendered.ids):,}")


def _stops(rendered: Rendered, rows: Items[Row], renderer: Renderer) -> Finding:
    """Look at the last token of every learnt answer: a server must stop at it."""
    name, tokenizer = "stop tokens", renderer.tokenizer
    texts = {row.id for row in rows if isinstance(row, TextRow)}
    chats = np.asarray([row_id not in texts for row_id in rendered.row_ids], bool)
    if not chats.any():
        return Finding(name=name, ok=True, detail="plain text, no answers to stop")
    learnt = rendered.weights > 0
    following = np.append(learnt[1:], False)
    following[rendered.offsets[1:] - 1] = False  # a sequence's last token has none after it
    ends = np.flatnonzero(learnt & ~following & np.repeat(chats, rendered.lengths()))
    wrong = ends[~np.isin(rendered.ids[ends], np.asarray(tokenizer.stop_ids, np.int64))]
    stops = ", ".join(repr(tokenizer.token(number)) for number in tokenizer.stop_ids) or "none at all"
    if len(wrong):
        last = Counter(int(number) for number in rendered.ids[wrong]).most_common(1)[0][0]
        return Finding(
            name=name,
            ok=False,
            detail=f"{len(wrong):,} of {len(ends):,} answers do not end with a token that a server stops at ({stops}); "
            f"most end with {tokenizer.token(last)!r} (id {last})",
            do="add that id to eos_token_id in the base's generation_config.json if it ends a turn, "
            "else name a template that ends turns (text.template)",
        )
    return Finding(name=name, ok=True, detail=f"{len(ends):,} answers end with one of {stops}")


def _beginning(rendered: Rendered, renderer: Renderer) -> Finding:
    """Look for exactly one beginning token in front, where the base knows one."""
    name, bos = "beginning", renderer.tokenizer.bos_id
    if bos is None:
        return Finding(name=name, ok=True, detail="the base has no beginning token")
    starts = rendered.offsets[:-1]
    first = rendered.ids[starts] == bos
    second = rendered.ids[np.minimum(starts + 1, len(rendered.ids) - 1)] == bos if len(starts) else first
    double = np.flatnonzero(first & second & (rendered.lengths() > 1))
    missing = np.flatnonzero(~first) if _wants_beginning(renderer) else np.zeros(0, np.int64)
    spelt = renderer.tokenizer.token(bos)
    for wrong, what in ((double, "begin twice"), (missing, "do not begin")):
        if len(wrong):
            detail = f"{len(wrong):,} of {len(rendered):,} sequences {what} with {spelt} ({_examples(rendered, wrong)})"
            advice = f"make the chat template print bos_token exactly once, in front ({renderer.template.name})"
            return Finding(name=name, ok=False, detail=detail, do=advice)
    return Finding(name=name, ok=True, detail=f"{int(first.sum()):,} sequences begin with {spelt}, once")


def _wants_beginning(renderer: Renderer) -> bool:
    """Tell whether the base was taught with a BOS: its tokenizer adds one, or its own template prints it."""
    tokenizer = renderer.tokenizer
    own = tokenizer.chat_template or ""
    spelt = tokenizer.token(tokenizer.bos_id) if tokenizer.bos_id is not None else ""
    own_begins = "bos_token" in own or (bool(spelt) and own.lstrip("{%-+ '\"").startswith(spelt))
    return tokenizer.adds_bos or own_begins


def _lost(rendered: Rendered, rows: Items[Row], renderer: Renderer) -> Finding:
    """Count the rows that are dropped, in all and of every label."""
    dropped, allowed = rendered.dropped, renderer.settings.most_lost_share
    if not dropped:
        return Finding(name="rows lost", ok=True, detail="none")
    totals = Counter(row.label for row in rows if isinstance(row, LabelledRow))
    labels = Counter(entry.label for entry in dropped if entry.label is not None)
    gone = [
        f"{label!r} {count:,} of {totals[label]:,}"
        for label, count in labels.most_common()
        if totals[label] >= _FEWEST_OF_A_LABEL and 2 * count > totals[label]
    ]
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in _reasons(rendered).items())
    examples = ", ".join(f"{entry.source}: {entry.detail}" for entry in dropped[:_SHOWN])
    detail = f"{len(dropped):,} of {len(rows):,} rows ({reasons}); {examples}"
    if labels:
        detail += "; by label: " + ", ".join(f"{label!r} {count:,}" for label, count in labels.most_common(_SHOWN))
    if gone:
        detail += f"; most of a label: {', '.join(gone[:_SHOWN])}"
    ok = len(dropped) <= allowed * len(rows) and not gone
    return Finding(name="rows lost", ok=ok, detail=detail, do="" if ok else _advice(rendered, renderer))


def _advice(rendered: Rendered, renderer: Renderer) -> str:
    reasons = _reasons(rendered)
    if TOO_LONG in reasons:
        return f"shorten those rows, raise text.max_tokens (now {renderer.limit:,}), or accept it: text.most_lost_share"
    if NOTHING_LEARNT in reasons:
        return "give each row an assistant turn with a weight above 0, or accept it: text.most_lost_share"
    return "mend those rows, name another template (text.template), or accept it: text.most_lost_share"


def _prefix(rendered: Rendered, rows: Items[Row]) -> Finding:
    """Count the rows whose earlier turns the template rewrites: they became several sequences."""
    texts = {row.id for row in rows if isinstance(row, TextRow)}
    several = [row for row, count in Counter(rendered.row_ids).items() if count > 1 and row not in texts]
    detail = "every prompt is the beginning of what answers it, as text and as tokens"
    if several:
        detail += f"; {len(several):,} rows became one sequence for each answer, as the template rewrites earlier turns"
    return Finding(name="prefix", ok=True, detail=detail)


def _answers(missed: Missed) -> Finding:
    """Say whether what is learnt holds the answers, as far as it was read back."""
    if missed.answers:
        return Finding(
            name="answers",
            ok=False,
            detail=_rows(missed.answers, missed.read, "lose text of their answers in the template"),
            do="name a template that prints all of an answer (text.template)",
        )
    return Finding(name="answers", ok=True, detail=f"{missed.read:,} rows read back, each holds its answers")


def _questions(missed: Missed) -> Finding:
    """Say whether the model reads what was asked and which functions there are; rows may be meant without."""
    doubts = []
    if missed.questions:
        doubts.append(_rows(missed.questions, missed.read, "lose text of a user or system turn in the template"))
    if missed.functions:
        doubts.append(_rows(missed.functions, missed.read, "have functions that the template does not write"))
    detail = "; ".join(doubts) or f"{missed.read:,} rows read back, each holds what was asked"
    do = "name a template that prints them (text.template), or take them out of the rows" if doubts else ""
    return Finding(name="questions", ok=True, doubt=bool(doubts), detail=detail, do=do)


def _rows(sources: Items[str], read: int, what: str) -> str:
    return f"{len(sources):,} of {read:,} rows {what} ({', '.join(sources[:_SHOWN])})"


def _counts(rendered: Rendered, rows: Items[Row]) -> dict[str, int]:
    figures = {
        "rows": len(rows),
        "sequences": len(rendered),
        "tokens": len(rendered.ids),
        "learnt tokens": int((rendered.weights > 0).sum()),
        "dropped": len(rendered.dropped),
    }
    return figures | {f"dropped: {reason}": count for reason, count in _reasons(rendered).items()}


def _reasons(rendered: Rendered) -> dict[str, int]:
    return dict(Counter(entry.reason for entry in rendered.dropped).most_common())


def _weights(rendered: Rendered, number: int) -> np.ndarray:
    return rendered.weights[rendered.offsets[number] : rendered.offsets[number + 1]]


def _examples(rendered: Rendered, numbers: Items[int] | np.ndarray) -> str:
    return ", ".join(rendered.sources[int(number)] for number in numbers[:_SHOWN])
