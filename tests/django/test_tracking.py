"""Runs the project's tests of tracked models."""

import pytest

from tests.django.conftest import PROJECT, Run


@pytest.mark.parametrize(("case", "count"), [("Tracked", 20), ("Told", 3), ("Committed", 5)])
def test_changes_of_models_are_recorded(run: Run, case: str, count: int) -> None:
    """The tests of that class pass in the project."""
    assert f"Ran {count} tests" in run("django", "test", f"{PROJECT}.cases.tracked.{case}").stderr


def test_each_mode_leaves_captured_rows_out(run: Run) -> None:
    """Inline, too."""
    run("django", "test", f"{PROJECT}.cases.tracked.Committed", PGAUDIT_MODE="inline")


def test_a_model_is_tracked_as_its_migration_says(run: Run) -> None:
    """The migrations of the project are complete."""
    run("django", "makemigrations", "cases", "--check", "--dry-run")
