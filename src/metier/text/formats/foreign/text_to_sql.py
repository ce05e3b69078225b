"""Text-to-SQL collections: queries, each with the sentences that ask for it and the values of its variables."""

from collections.abc import Iterator, Mapping
from typing import Any

from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values
from metier.text.messages import UnusableRow


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record is a query with its sentences."""
    queries, sentences = record.get("sql"), record.get("sentences")
    return isinstance(queries, list) and isinstance(sentences, list) and bool(queries) and bool(sentences)


def translate(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield a row for each sentence, variables filled in; the sentences of one query never come into two splits."""
    queries, sentences = record.get("sql"), record.get("sentences")
    if not isinstance(queries, list) or not queries or not isinstance(sentences, list):
        raise UnusableRow("a query without its SQL")
    query = queries[0]
    for sentence in sentences:
        if not isinstance(sentence, dict) or not isinstance(query, str):
            raise UnusableRow("a sentence that is not an object")
        values = sentence.get("variables")
        values = values if isinstance(values, dict) else {}
        plain = {"prompt": _filled(sentence.get("text"), values), "completion": _filled(query, values)}
        yield Plain("completion", plain | {"group": query})


def _filled(text: Any, values: Mapping[str, Any]) -> Any:
    """Put values in the place of variables, the longest names first so that var1 is not taken for the head of var10."""
    if isinstance(text, str):
        for name in sorted(values, key=len, reverse=True):
            text = text.replace(name, str(values[name])) if name else text
    return text


FORMAT = Foreign(name="text-to-sql", says="SQL queries with their sentences", fits=fits, translate=translate)
