"""A fresh project folder for every test."""

from pathlib import Path

import pytest

from tests.prepare.workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)
