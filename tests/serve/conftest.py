"""One project and one server process for all tests of the room: both take seconds to make."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve import workshop
from tests.serve.workshop import Process, Shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Shop:
    return workshop.build(tmp_path_factory.mktemp("shop"), tiny_base)


@pytest.fixture(scope="session")
def server(shop: Shop) -> Iterator[Process]:
    process = workshop.start(shop.folder, "--serve.record.content=true")
    yield process
    workshop.end(process)
