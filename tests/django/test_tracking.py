"""Runs the project's tests of tracked models."""

import pytest

from tests.django.conftest import PROJECT, Run

PLACE = f"{PROJECT}.cases.tracked"


@pytest.mark.parametrize(
    ("modules", "count"), [(("saving", "related", "refusing", "keys"), 20), (("changes",), 3), (("committed",), 5)]
)
def test_changes_of_models_are_recorded(run: Run, modules: tuple[str, ...], count: int) -> None:
    """The tests of these modules pass in the project."""
    done = run("django", "test", *[f"{PLACE}.{module}" for module in modules])
    assert f"Ran {count} tests" in done.stderr


def test_each_mode_leaves_captured_rows_out(run: Run) -> None:
    """In mode inline, a change that a trigger captures is recorded once, too."""
    run("django", "test", f"{PLACE}.committed", PGAUDIT_MODE="inline")


def test_a_model_is_tracked_as_its_migration_says(run: Run) -> None:
    """The migrations of the project are complete."""
    run("django", "makemigrations", "cases", "--check", "--dry-run")
