"""SQuAD: articles of paragraphs, each a context with its questions and the answers that stand in it."""

from collections.abc import Iterator, Mapping
from typing import Any

from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values
from metier.text.messages import UnusableRow


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record is an article, or one of its paragraphs."""
    return any("qas" in paragraph for paragraph in _paragraphs(record))


def _paragraphs(record: Values) -> list[Mapping[str, Any]]:
    paragraphs = record.get("paragraphs", [record])
    return [each for each in paragraphs if isinstance(each, dict)] if isinstance(paragraphs, list) else []


def translate(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield a row for each question that has an answer; the first answer is learnt, a paragraph is a group."""
    found = False
    for paragraph in _paragraphs(record):
        context, questions = paragraph.get("context"), paragraph.get("qas")
        for question in questions if isinstance(questions, list) else []:
            answers = question.get("answers") if isinstance(question, dict) else None
            answers = answers if isinstance(answers, list) else []
            said = [answer.get("text") for answer in answers if isinstance(answer, dict)]
            if said:
                found = True
                plain = {"prompt": question.get("question"), "context": context, "completion": said[0]}
                yield Plain("completion", plain | {"group": context})
    if not found:
        raise UnusableRow("no question with an answer")


FORMAT = Foreign(name="squad", says="paragraphs with questions and answers (SQuAD)", fits=fits, translate=translate)
