"""What a snapshot is under the chosen base: tokens of an epoch, rows that do not fit, beginnings that are shared."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from metier.core.report import Figure, Report, Series, Table, Verdict
from metier.prepare.advice import Warning
from metier.text.census import Census

_EDGES = (0, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_FEW = 0.02
_MOST_LABELS = 25
_BOTH = "Each row counts twice, with its better and with its worse answer; their prompt is a shared beginning."


def report(censuses: Mapping[str, Census], base: str) -> Report:
    """Tell what the splits of a snapshot become.

    Args:
        censuses: by split; "train" is one of them.
        base: its name.
    """
    train = censuses["train"]
    lost = sum(entry.rows for entry in train.lost.values())
    text = f"{train.tokens:,} tokens in an epoch on {base}; the model is taught to write {train.learnt:,} of them"
    return Report(
        title="Tokens",
        verdict=Verdict(
            text=text + (f"; {lost:,} rows do not fit" if lost else ""), good=None if lost else True, asked=not lost
        ),
        facts=(
            ("tokens of an epoch", train.tokens),
            ("of them learnt", f"{train.learnt / max(train.tokens, 1):.0%}"),
            ("shared beginnings", f"{train.shared:.0%} of the tokens of {train.sampled:,} rows"),
            ("longest that fits", train.limit),
        ),
        tables=tuple(_tables(censuses)),
        figures=tuple(_figures(train)),
    )


def warnings(train: Census) -> tuple[Warning, ...]:
    """Return what the tokens of the training rows give reason to warn of, to rank with the others."""
    found = []
    for reason, lost in train.lost.items():
        shares = {name: count / train.labels[name] for name, count in lost.labels.items() if train.labels.get(name)}
        worst = max(shares, key=lambda name: (shares[name], name), default=None)
        why = f"limit {train.limit:,} tokens; first: {lost.sources[0]}"
        text = f"{reason[:1].upper() + reason[1:]}: {lost.rows:,} training rows are left out ({why})"
        if worst is not None:
            text += f": {shares[worst]:.0%} of label {worst!r}"
        effect = "The model never sees them: what is long it will not have learnt"
        found.append(Warning(1.5 * lost.rows, text, effect, "raise text.max_tokens, or shorten the rows"))
    learnt = train.learnt / max(train.tokens, 1)
    if train.tokens and learnt < _FEW:
        text = f"Only {learnt:.1%} of the tokens are learnt; {train.shared:.0%} are beginnings that rows share"
        found.append(
            Warning(
                0.1, text, "Shared beginnings are computed once, but cost the served model", "shorten the common prompt"
            )
        )
    return tuple(found)


def _tables(censuses: Mapping[str, Census]) -> Iterator[Table]:
    rows = []
    for split, found in censuses.items():
        sizes = found.lengths if len(found.lengths) else np.zeros(1, np.int32)
        middle, most = (int(value) for value in np.percentile(sizes, (50, 99)))
        lost = sum(entry.rows for entry in found.lost.values())
        rows.append((split, found.rows, found.tokens, found.learnt, middle, most, int(sizes.max()), lost))
    yield Table(
        title="Tokens by split",
        columns=("split", "rows", "tokens", "learnt", "half are at most", "99 in 100 at most", "longest", "left out"),
        rows=tuple(rows),
        note=_BOTH if censuses["train"].both else "",
    )
    yield from _lost(censuses["train"])


def painted(rows: Sequence[tuple[str, Sequence[tuple[str, bool]]]]) -> Report:
    """Show rows as the model reads them.

    Args:
        rows: source, and pieces of text with whether each is learnt.
    """
    cells = tuple((source, "".join(f"⟦{text}⟧" if learnt else text for text, learnt in row)) for source, row in rows)
    table = Table(title="Rows drawn at random", columns=("row", "as the model reads it"), rows=cells)
    text = "What the model is taught to write stands in ⟦ ⟧; the rest is what it reads before"
    return Report(title="Rows", verdict=Verdict(text=text, good=True), tables=(table,))


def _lost(train: Census) -> Iterator[Table]:
    """List the labels that lose rows, the hardest hit first."""
    rows = [
        (name, reason, count, train.labels[name], f"{count / train.labels[name]:.0%}")
        for reason, lost in train.lost.items()
        for name, count in lost.labels.items()
        if train.labels.get(name)
    ]
    if rows:
        ranked = sorted(rows, key=lambda row: (-row[2] / row[3], row[0]))[:_MOST_LABELS]
        yield Table(title="Left out by label", columns=("label", "reason", "rows", "of", "share"), rows=tuple(ranked))


def _figures(train: Census) -> Iterator[Figure]:
    if len(train.lengths):
        bars, _ = np.histogram(train.lengths, bins=(*_EDGES, np.iinfo(np.int32).max))
        first, last = (int(place) for place in np.flatnonzero(bars)[[0, -1]])
        names = [f"from {edge:,}" for edge in _EDGES[first : last + 1]]
        series = (Series(name="train", x=names, y=[float(count) for count in bars[first : last + 1]]),)
        yield Figure(title="Sequences by tokens", kind="bars", series=series, x_label="tokens", y_label="sequences")
