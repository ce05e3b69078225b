"""Files that no format fits, or two: what is found, what is wanted, and the line to write into metier.yaml."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from metier.core.errors import DataError
from metier.text.formats.columns import ANSWER, LABEL, MESSAGE, is_reference, listed, named_like, plain_name, short
from metier.text.formats.names import Recognised
from metier.text.formats.shapes import SHAPES

_MIXED_SHARE = 0.05
_LONGEST_NAME = 60
_LONG = 20
"""Characters that a column must hold on average to be proposed as a text."""

_LONGEST_OF_A_TICKET = 2000
"""Characters of a text on average, above which it is a document and what stands beside it is about that."""

_FEWEST_OF_A_LABEL = 5
_LONGEST_LABEL = 60
_ABOUT = {"source", "split", "language", "lang", "locale", "author", "url", "link", "license", "licence", "encoding",
          "book", "chapter", "section", "file", "filename", "path", "subset", "dataset", "format", "mime_type", "type",
          "date", "created_at", "updated_at", "time", "timestamp", "year", "status", "state", "to", "from", "cc",
          "mail_from", "sender", "recipient", "thread", "subject", "title", "headline"}  # fmt: skip
"""Columns beside a text that say where it comes from and are seldom what is to be learnt."""


def unknown_columns(chosen: Mapping[str, str], names: Counter[str], where: str) -> None:
    """Refuse a column that the user names and the file lacks."""
    for role, name in chosen.items():
        if name not in names:
            raise DataError(f"{where}: no column {name!r} for prepare.columns.{role}", f"one of {listed(names)}")


def two_labels(names: Counter[str], chosen: Mapping[str, str], where: str) -> None:
    """Refuse a file of which two columns could be the label."""
    labels = named_like(LABEL, names, chosen.values())
    texts = named_like(MESSAGE, names, chosen.values())
    if len(labels) > 1 and "label" not in chosen and (texts or "text" in chosen):
        raise DataError(
            f"{where}: {len(labels)} columns could be the label: {', '.join(map(repr, labels))}",
            "one",
            f"say which: prepare.columns: {{label: {labels[0]}}}",
        )


def label_left_out(records: Sequence[Mapping[str, Any]], text: str, unused: Sequence[str], where: str) -> None:
    """Refuse to learn texts as they stand where a column beside them looks like what is to be learnt of them.

    Args:
        records: the first of a file.
        text: the column that would be learnt.
        unused: the columns that no row would carry.
        where: the file.
    """
    lengths = [len(value) for record in records if isinstance(value := record.get(text), str)]
    if sum(lengths) > _LONGEST_OF_A_TICKET * len(lengths):
        return
    kinds = {name: found for name in unused if len(found := _names_in(records, name)) > 1}
    if not kinds:
        return
    shown = "; ".join(
        f"{short(name)!r} holds {', '.join(map(repr, list(found)[:3]))}{' …' if len(found) > 3 else ''}"
        for name, found in list(kinds.items())[:3]
    )
    heading = next((name for name in unused if plain_name(name) in ("subject", "title", "headline")), None)
    words = f"[{short(heading)}, {short(text)}]" if heading else short(text)
    raise DataError(
        f"{where}: texts, and beside them what could be their labels: {shown}",
        "a word on what is learnt: a label of each text, or the texts themselves",
        f"prepare.columns: {{text: {words}, label: {short(next(iter(kinds)))}}}; or prepare.format: text",
    )


def _names_in(records: Sequence[Mapping[str, Any]], name: str) -> Counter[str]:
    """Return the names in a column that could be one of labels, the most frequent first; none when it is no such one.

    Nearly every record has one, they are short, and each stands five times or more in the mean.
    """
    values = [value.strip() for record in records if isinstance(value := record.get(name), str) and value.strip()]
    found = Counter(values)
    rare = len(values) < 0.9 * len(records) or len(values) < _FEWEST_OF_A_LABEL * len(found)
    if plain_name(name) in _ABOUT or rare or any(len(value) > _LONGEST_LABEL or _is_number(value) for value in found):
        return Counter()
    return Counter(dict(found.most_common()))


def _is_number(value: str) -> bool:
    return value.replace(".", "", 1).replace(",", "").lstrip("+-").isdigit()


def mixture(
    records: Sequence[Mapping[str, Any]], best: Recognised | None, tried: Sequence[Recognised], where: str
) -> None:
    """Refuse a file of which a good part is in another format than most of it."""
    first = best or max(tried, key=lambda found: found.confidence, default=None)
    if first is None:
        return
    rest = [record for record in records if not _has_needed(first, record)]
    for other in tried:
        fitting = sum(_has_needed(other, record) for record in rest) if other.format != first.format else 0
        if fitting > _MIXED_SHARE * len(records):
            raise DataError(
                f"{where}: two formats mixed: {first.confidence:.0%} {first.format}, "
                f"{fitting / len(records):.0%} {other.format}",
                "one format a file",
                "put them into two files; data.train takes a list of files",
            )


def _has_needed(found: Recognised, record: Mapping[str, Any]) -> bool:
    """Tell whether a record has the columns that the format cannot do without."""
    needs = next(
        shape.needs for shape in SHAPES if shape.name == found.format and shape.needs.keys() <= found.columns.keys()
    )
    return all(found.columns[role] in record for role in needs)


def unrecognised(records: Sequence[Mapping[str, Any]], wanted: str, where: str) -> DataError:
    """Say that nothing fits, with columns of this very file that could be named."""
    names = Counter(name for record in records for name in record)
    if wanted == "auto":
        return DataError(
            f"{where}: no known format (columns: {listed(names)})",
            "messages · conversations · instruction + output · prompt + completion · chosen + rejected · text + label "
            "· text + score · text",
            _advice(records, names),
        )
    needs = [" + ".join(shape.needs) for shape in SHAPES if shape.name == wanted] or ["what that program exports"]
    return DataError(
        f"{where}: not in the format '{wanted}' (columns: {listed(names)})",
        " or ".join(needs),
        "leave prepare.format at auto, or map the names with prepare.columns",
    )


def _advice(records: Sequence[Mapping[str, Any]], names: Counter[str]) -> str:
    if any(len(name) > _LONGEST_NAME or name.strip().isdigit() for name in names):
        return "its first row does not look like names of columns; if it is a row: prepare.read.header: false"
    kinds = [name for name in names if len(_names_in(records, name)) > 1]
    texts = [name for name in names if name not in kinds and _is_message(records, name)]
    if kinds and len(texts) == 1:
        return f"name the columns, for example prepare.columns: {{text: {short(texts[0])}, label: {short(kinds[0])}}}"
    return f"name the columns, for example prepare.columns: {_proposal(records, names)}"


def _is_message(records: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Tell whether a column holds texts that are longer than a name."""
    said = [value for record in records if isinstance(value := record.get(name), str)]
    return len(said) > len(records) / 2 and sum(map(len, said)) >= _LONG * len(said)


def _proposal(records: Sequence[Mapping[str, Any]], names: Counter[str]) -> str:
    """Propose the two columns with the most text as question and answer, or one as text."""
    texts = {name: [record[name] for record in records if isinstance(record.get(name), str)] for name in names}
    lengths = {name: sum(map(len, said)) / len(records) for name, said in texts.items() if said}
    long = [name for name in names if lengths.get(name, 0) >= _LONG]
    answers = [name for name in long if is_reference(name) or plain_name(name) in ANSWER][:1]
    longest = sorted((name for name in long if name not in answers), key=lambda name: -lengths[name])
    pair = (longest[: 2 - len(answers)] if answers else [name for name in names if name in longest[:2]]) + answers
    if len(pair) == 2:
        return f"{{prompt: {short(pair[0])}, completion: {short(pair[1])}}}"
    return f"{{text: {short(pair[0])}}}" if pair else "{text: body, label: queue}"
