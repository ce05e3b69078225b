"""Does an answer hold to a JSON Schema? Checked by the jsonschema library, without fetching anything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metier.core import extras
from metier.core.errors import SettingsError
from metier.score import structured


def checker(path: Path) -> Callable[[str], str]:
    """Return a function that says what is wrong with an answer, "" when nothing is.

    Args:
        path: a file with a JSON Schema; references to other files or addresses are not followed.

    Raises:
        SettingsError: the file cannot be read or holds no JSON Schema.
        MissingExtraError: jsonschema is not installed.
    """
    library = extras.load("jsonschema", "judge")
    registry = extras.load("referencing", "judge").Registry()
    try:
        schema: Any = json.loads(path.read_text(encoding="utf-8"))
        kind = library.validators.validator_for(schema, default=library.Draft202012Validator)
        kind.check_schema(schema)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read ({error})", "a JSON Schema") from error
    except library.SchemaError as error:
        raise SettingsError(f"{path}: no JSON Schema ({error.message})", "a JSON Schema") from error
    validator = kind(schema, registry=registry)

    def fault(output: str) -> str:
        value = structured.parse(output)
        if value is None:
            return "no JSON"
        first = next(iter(validator.iter_errors(value)), None)
        return "" if first is None else f"{first.json_path}: {first.message}"

    return fault
