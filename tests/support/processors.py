"""Processors in tests: declaring them for one test, and what their jobs do."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from pgaudit.processors.declaring import DECLARED
from tests.support.queries import value_in

JOBS = "SELECT count(*) FROM pgaudit.processor_jobs"


@contextmanager
def no_others() -> Generator[None]:
    """Forgets, inside the block, the processors that were declared before; after it, those that were declared there."""
    before = dict(DECLARED)
    DECLARED.clear()
    try:
        yield
    finally:
        DECLARED.clear()
        DECLARED.update(before)


def stat(dsn: str, name: str, column: str) -> Any:
    """Returns a column of ``processor_stats``; None if no worker has known the processor."""
    query = f"SELECT {column} FROM pgaudit.processor_stats WHERE name = '{name}'"
    return value_in(dsn, query)
