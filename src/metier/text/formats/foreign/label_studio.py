"""Label Studio tasks: the data shown to people, and what they chose, wrote or rated."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from metier.core import digest
from metier.text.formats.columns import DOCUMENT, MESSAGE, named_like
from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values
from metier.text.messages import UnusableRow

Choice = tuple[str, Any]
"""What kind of answer a person gave, and the answer."""


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record is a task with its annotations."""
    return isinstance(record.get("data"), dict) and isinstance(record.get("annotations"), list)


def translate(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield what most annotators said; when two answers have the same votes, the task is not used."""
    data, annotations = record.get("data"), record.get("annotations")
    if not isinstance(data, dict) or not isinstance(annotations, list):
        raise UnusableRow("a task without annotations")
    valid = [each for each in annotations if isinstance(each, dict) and not each.get("was_cancelled")]
    marked = [each for each in valid if each.get("ground_truth")] or valid
    answers = [answer for each in marked if (answer := _answer(each.get("result"))) is not None]
    if not answers:
        raise UnusableRow("nobody has annotated this task")
    votes = Counter(digest.canonical_json(list(answer)) for answer in answers)
    (first, most), *others = votes.most_common(2)
    if others and others[0][1] == most:
        raise UnusableRow("the annotators disagree", f"{len(answers)} annotations")
    kind, value = next(answer for answer in answers if digest.canonical_json(list(answer)) == first)
    yield _row(kind, value, data)


def _answer(results: Any) -> Choice | None:
    """Return the one answer of an annotation."""
    for result in results if isinstance(results, list) else []:
        kind = result.get("type") if isinstance(result, dict) else None
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            continue
        if kind == "choices" and isinstance(value.get("choices"), list) and value["choices"]:
            return "label", value["choices"][0] if len(value["choices"]) == 1 else value["choices"]
        if kind == "taxonomy" and isinstance(value.get("taxonomy"), list):
            return "label", ["/".join(map(str, path)) for path in value["taxonomy"] if isinstance(path, list)]
        if kind in ("rating", "number"):
            return "score", value.get(kind)
        if kind == "textarea" and value.get("text"):
            return "text", value["text"][0] if isinstance(value["text"], list) else value["text"]
        if kind == "pairwise":
            return "pair", value.get("selected")
        if kind in ("labels", "relation", "brushlabels", "rectanglelabels"):
            raise UnusableRow("annotated spans or regions, not an answer", f"type {kind!r}")
    return None


def _row(kind: str, value: Any, data: Mapping[str, Any]) -> Plain:
    if kind == "pair":
        return _pair(value, data)
    text = _shown(data)
    if kind == "text":
        return Plain("completion", {"prompt": text, "completion": value})
    return Plain("score", {"text": text, "score": value}) if kind == "score" else Plain(
        "label", {"text": text, "label": value}
    )  # fmt: skip


def _shown(data: Mapping[str, Any]) -> str:
    """Return the text that people judged: the column that is usually called so, or the only one."""
    texts = Counter(name for name, value in data.items() if isinstance(value, str))
    found = named_like((*MESSAGE, *DOCUMENT), texts, ()) or (list(texts) if len(texts) == 1 else [])
    if not found:
        raise UnusableRow("no text in the data of the task", f"columns {', '.join(map(str, list(data)[:5]))}")
    return data[found[0]]


def _pair(selected: Any, data: Mapping[str, Any]) -> Plain:
    texts = [value for value in data.values() if isinstance(value, str)]
    if selected not in ("left", "right") or len(texts) not in (2, 3):
        raise UnusableRow("a comparison that is not of two texts")
    prompt = {"prompt": texts[0]} if len(texts) == 3 else {}
    left, right = texts[-2:]
    better, worse = (left, right) if selected == "left" else (right, left)
    return Plain("preference", prompt | {"chosen": better, "rejected": worse})


FORMAT = Foreign(name="label-studio", says="Label Studio tasks", fits=fits, translate=translate)
