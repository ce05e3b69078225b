"""Argilla records: the fields shown to people, and their responses to questions, or the suggestions of a model."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from metier.core import digest
from metier.text.formats.columns import DOCUMENT, LABEL, MESSAGE, SCORE, named_like, plain_name
from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values
from metier.text.formats.shapes import is_turns
from metier.text.messages import UnusableRow

_STATES = ("submitted", None)


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record has fields and what people said of them."""
    return isinstance(record.get("fields"), dict) and ("responses" in record or "suggestions" in record)


def translate(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield what most people answered to the first question that was answered."""
    fields = record.get("fields")
    if not isinstance(fields, dict):
        raise UnusableRow("a record without fields")
    answers = _responses(record.get("responses")) or _suggestions(record.get("suggestions"))
    if not answers:
        raise UnusableRow("nobody has answered this record")
    question, values = next(iter(answers.items()))
    votes = Counter(digest.canonical_json(value) for value in values)
    (first, most), *others = votes.most_common(2)
    if others and others[0][1] == most:
        raise UnusableRow("the annotators disagree", f"{len(values)} responses to {question[:40]!r}")
    yield _row(question, next(value for value in values if digest.canonical_json(value) == first), fields)


def _responses(responses: Any) -> dict[str, list[Any]]:
    """Collect submitted answers by question, from either way in which Argilla has written them."""
    found: dict[str, list[Any]] = {}
    if isinstance(responses, dict):
        for question, given in responses.items():
            for each in given if isinstance(given, list) else []:
                if isinstance(each, dict) and each.get("status") in _STATES and each.get("value") is not None:
                    found.setdefault(str(question), []).append(each["value"])
    for each in responses if isinstance(responses, list) else []:
        values = each.get("values") if isinstance(each, dict) and each.get("status") in _STATES else None
        for question, answer in (values or {}).items() if isinstance(values, dict) else ():
            value = answer.get("value") if isinstance(answer, dict) else answer
            if value is not None:
                found.setdefault(str(question), []).append(value)
    return found


def _suggestions(suggestions: Any) -> dict[str, list[Any]]:
    if isinstance(suggestions, dict):
        pairs = suggestions.items()
    elif isinstance(suggestions, list):
        pairs = [(each.get("question_name"), each) for each in suggestions if isinstance(each, dict)]  # type: ignore[assignment]
    else:
        return {}
    return {str(name): [each["value"]] for name, each in pairs if isinstance(each, dict) and each.get("value")}


def _row(question: str, value: Any, fields: Mapping[str, Any]) -> Plain:
    ranked = _ranked(value, fields)
    if ranked is not None:
        return ranked
    turns = next((each for each in fields.values() if is_turns(each, "role")), None)
    text = turns if turns is not None else _shown(fields)
    if isinstance(value, bool) or not isinstance(value, str | int | float | list):
        raise UnusableRow("an answer that is neither text, label nor number", f"question {question[:40]!r}")
    if isinstance(value, int | float) or plain_name(question) in SCORE:
        return Plain("score", {"text": text, "score": value})
    if isinstance(value, list) or _is_label(question, value):
        return Plain("label", {"text": text, "label": value})
    return Plain("completion", {"prompt": text, "completion": value})


def _is_label(question: str, value: str) -> bool:
    plain = plain_name(question)
    return any(word in plain for word in LABEL) or (len(value.split()) <= 3 and not value.endswith("."))


def _shown(fields: Mapping[str, Any]) -> Any:
    texts = Counter(name for name, value in fields.items() if isinstance(value, str))
    found = named_like((*MESSAGE, *DOCUMENT), texts, ()) or list(texts)
    if not found:
        raise UnusableRow("no text in the fields of the record")
    return fields[found[0]]


def _ranked(value: Any, fields: Mapping[str, Any]) -> Plain | None:
    """Read a ranking of fields: `[{"value": "response-1", "rank": 1}, …]`."""
    places = value if isinstance(value, list) else [None]
    if not all(isinstance(each, dict) and {"value", "rank"} <= each.keys() for each in places):
        return None
    order = sorted((each for each in places if isinstance(each["rank"], int)), key=lambda each: each["rank"])
    names = [each["value"] for each in order if each["value"] in fields]
    if len(names) < 2 or order[0]["rank"] == order[-1]["rank"]:
        raise UnusableRow("a ranking without a better and a worse answer")
    asked = next((fields[name] for name in fields if name not in names and isinstance(fields[name], str)), None)
    prompt = {"prompt": asked} if asked is not None else {}
    return Plain("preference", prompt | {"chosen": fields[names[0]], "rejected": fields[names[-1]]})


FORMAT = Foreign(name="argilla", says="Argilla records", fits=fits, translate=translate)
