"""Runs the project's tests of the audit trail in Django's admin, and of the dashboard beside Django."""

import pytest

from tests.django.conftest import PROJECT, Run


@pytest.mark.parametrize(("module", "count"), [("in_admin", 13), ("of_objects", 8), ("beside", 7)])
def test_the_pages_do_what_they_say(run: Run, module: str, count: int) -> None:
    """The tests of that module pass in the project."""
    assert f"Ran {count} tests" in run("django", "test", f"{PROJECT}.monitors.{module}").stderr


def test_the_list_may_be_left_out(run: Run) -> None:
    """With ADMIN set to False, Django's admin has no list of audit events."""
    program = "from django.urls import reverse; print(reverse('admin:pgaudit_auditentry_changelist'))"
    assert run("django", "shell", "-c", program).stdout.endswith("/admin/pgaudit/auditentry/\n")
    refused = run("django", "shell", "-c", program, code=1, PROJECT_PGAUDIT='{"ADMIN": false}')
    assert "NoReverseMatch" in refused.stderr
