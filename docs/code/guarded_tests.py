"""In pytest's ``conftest.py``: no test may change guarded rows without an event."""

import pytest

from pgaudit.testing import AuditGuard


@pytest.fixture(autouse=True)
def guarded(audit_guard: AuditGuard) -> None:
    """Fails each test that changes guarded rows without an event."""
