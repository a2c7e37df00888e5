"""The check that changes of captured and guarded tables are seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from pgaudit.health.status import Check, Status

SHOWN: Final = 3  # tables in one message
PROBLEMS: Final = 'SELECT purpose, table_name AS "table", problem FROM pgaudit.capture_problems()'


@dataclass(frozen=True, slots=True)
class CaptureProblem:
    """What is wrong with the ``capture`` or the ``guard`` of a table."""

    purpose: str
    table: str
    problem: str

    @property
    def sentence(self) -> str:
        """The table and its problem."""
        return f"{self.table} {self.problem}"

    @property
    def remedy(self) -> str:
        """The command that solves it."""
        return f"as the owner, run `pgaudit {self.purpose} renew {self.table}`"


def problems(conn: psycopg.Connection[Any]) -> list[CaptureProblem]:
    """Returns what is wrong with the tables that are captured or guarded, and not paused."""
    return psycopg.Cursor(conn, row_factory=class_row(CaptureProblem)).execute(PROBLEMS).fetchall()


def captured(found: Sequence[CaptureProblem]) -> Check:
    """Returns the verdict on these problems."""
    if not found:
        message = "All triggers of captured and guarded tables are in place."
        return Check("captured_tables", Status.HEALTHY, 0, 0, message)
    named = "; ".join(f"{problem.sentence}: {problem.remedy}" for problem in found[:SHOWN])
    more = f" … and {len(found) - SHOWN} more: see `pgaudit doctor`" if len(found) > SHOWN else ""
    return Check("captured_tables", Status.DEGRADED, len(found), 0, f"{named}{more}.")
