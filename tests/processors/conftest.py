"""Fixtures for processors."""

from pathlib import Path

import pytest

from tests.support.processors import Modules


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    """Modules for workers in processes of their own."""
    return Modules(tmp_path)
