"""A real evaluation holds to its schema, and one with something wrong in it does not."""

import copy
import json
from typing import Any

import jsonschema
import pytest

from metier.evaluate.schema import json_schema
from tests.evaluate.conftest import Workplace


def test_a_real_evaluation_holds_to_its_schema(evaluated: dict[str, Any], records: Workplace) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(evaluated)
    validator.validate(records.evaluate())
    json.dumps(json_schema())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict", "verdict"), "good"),
        (("metrics", 0, "p"), 2),
        (("leaked",), None),
        (("slices", 0, "slice"), 3),
        (("version",), 2),
    ],
)
def test_a_changed_one_does_not(evaluated: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    changed = copy.deepcopy(evaluated)
    place = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate(changed)
