"""Copying the bundled example into a new project folder."""

import os
import shutil
import uuid
from pathlib import Path

from metier.core.errors import InputError

EXAMPLE = Path(__file__).parent.parent / "bundled" / "example"


def scaffold(folder: Path, example: Path = EXAMPLE) -> Path:
    """Make `folder` with the example in it; it appears whole or not at all.

    Raises:
        InputError: something stands there already, or the place cannot be written to.
    """
    target = folder.expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{folder}: already there", "a new or empty folder", "choose another name")
    temporary = target.parent / f".tmp-{target.name}-{uuid.uuid4().hex[:8]}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(example, temporary, ignore=shutil.ignore_patterns("__pycache__", "__init__.py", ".metier"))
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror})", "a place that can be written to") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
