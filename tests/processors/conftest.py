"""Fixtures for processors."""

from collections.abc import Iterator

import pytest

from tests.support.processors import no_others


@pytest.fixture(autouse=True)
def _only_those_of_the_test() -> Iterator[None]:
    """Each test declares its own processors."""
    with no_others():
        yield
