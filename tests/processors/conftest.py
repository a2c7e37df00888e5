"""Fixtures for processors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processors import Modules, no_others


@pytest.fixture(autouse=True)
def _only_those_of_the_test() -> Iterator[None]:
    """Each test declares its own processors."""
    with no_others():
        yield


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    """Modules for workers in processes of their own."""
    return Modules(tmp_path)
