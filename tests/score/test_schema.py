import json
from pathlib import Path

import pytest
import referencing.exceptions

from metier.core.errors import SettingsError
from metier.score import schema


def write(folder: Path, value: object) -> Path:
    path = folder / "schema.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    kind = {
        "type": "object",
        "required": ["n"],
        "properties": {"n": {"type": "integer"}},
        "additionalProperties": False,
    }
    fault = schema.checker(write(tmp_path, kind))
    assert fault('{"n": 3}') == ""
    assert fault('{"n": "3"}').startswith("$.n: '3' is not of type 'integer'")
    assert "required" in fault("{}")
    assert "Additional" in fault('{"n": 1, "m": 2}')
    assert fault("three") == "no JSON"


@pytest.mark.parametrize("text", ["{", '{"type": "no such type"}'])
def test_a_file_that_is_no_schema(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"schema\.json"):
        schema.checker(write(tmp_path, text))


def test_nothing_is_fetched(tmp_path: Path) -> None:
    fault = schema.checker(write(tmp_path, {"$ref": "https://example.org/schema.json"}))
    with pytest.raises(referencing.exceptions.Unresolvable):
        fault("{}")
