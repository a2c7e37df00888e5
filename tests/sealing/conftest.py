"""A server with its standby."""

from collections.abc import Iterator

import pytest

from pgaudit.testing.server import TemporaryServer
from tests.support.servers import migrated_server
from tests.support.standby import Standby


@pytest.fixture
def primary() -> Iterator[TemporaryServer]:
    """A server of the test's own."""
    with migrated_server() as server:
        yield server


@pytest.fixture
def standby(primary: TemporaryServer) -> Iterator[Standby]:
    """Its standby."""
    standby = Standby(primary)
    try:
        yield standby
    finally:
        standby.stop()
