"""Self-Instruct tasks: one instruction and a list of its instances, each with an input and an output."""

from collections.abc import Iterator

from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values
from metier.text.messages import UnusableRow


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record is such a task."""
    instances = record.get("instances")
    return (
        isinstance(record.get("instruction"), str)
        and isinstance(instances, list)
        and all(isinstance(each, dict) and "output" in each for each in instances)
    )


def translate(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield a row for each instance; those of one instruction never come into two splits."""
    instances = record.get("instances")
    if not isinstance(instances, list) or not all(isinstance(each, dict) for each in instances):
        raise UnusableRow("'instances' is not a list of objects")
    for each in instances:
        plain = {"instruction": record.get("instruction"), "input": each.get("input"), "output": each.get("output")}
        yield Plain("alpaca", plain | {"group": record.get("instruction")})


FORMAT = Foreign(name="instances", says="instructions with their instances", fits=fits, translate=translate)
