"""A server, and a project whose rows it is asked about."""

from collections.abc import Iterator

import pytest

from tests.prepare.synthesise.endpoint import Endpoint, served
from tests.prepare.synthesise.kitchen import Pantry


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with served() as found:
        yield found


@pytest.fixture
def pantry(workshop, endpoint) -> Pantry:
    return Pantry(workshop, endpoint)
