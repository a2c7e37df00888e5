"""Which statement of a test has changed rows of guarded tables, and where it stands."""

import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final, LiteralString

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

INSTALLED: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
OURS: Final = str(Path(__file__).parents[1])
LONGEST: Final = 500  # characters of a statement in a message

READABLE: Final = """
    SELECT bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
     WHERE nspname = 'pgaudit' AND relname IN ('guarded_change', 'guarded_table')
"""
LAST_CHANGE: Final = """
    SELECT max(number) FROM pgaudit.guarded_change WHERE xid = pg_catalog.pg_current_xact_id_if_assigned()
"""

# The methods themselves: while a test is watched, those of the class are replaced.
EXECUTE: Final = psycopg.Cursor.execute


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that has changed rows of guarded tables: the changes after ``after``, up to ``last``."""

    text: str
    place: str
    after: int
    last: int

    def __str__(self) -> str:
        text = " ".join(self.text.split())
        return f"{text if len(text) <= LONGEST else text[:LONGEST] + '…'}\n    at {self.place}"


@dataclass(slots=True)
class Watched:
    """What is known of a connection: whether guards can be read through it, and its statements."""

    is_readable: bool | None = None
    """None: the database has no guards."""
    last: int = 0
    statements: list[Statement] = field(default_factory=list[Statement])

    def note(self, conn: psycopg.Connection[Any], text: str, place: str) -> None:
        """Keeps the statement that has just been run, if it has changed rows of guarded tables."""
        if self.is_readable is None:
            ((self.is_readable,),) = rows(conn, READABLE)
        last = rows(conn, LAST_CHANGE)[0][0] or 0 if self.is_readable else 0
        if last > self.last:
            self.statements.append(Statement(text, place, self.last, last))
            self.last = last

    def having(self, numbers: set[int]) -> list[Statement]:
        """Returns the statements that have made these changes."""
        return [one for one in self.statements if any(one.after < number <= one.last for number in numbers)]


def rows(conn: psycopg.Connection[Any], query: LiteralString, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Returns the rows of a query that is not watched."""
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        EXECUTE(cursor, query, parameters, prepare=False)
        return cursor.fetchall() if cursor.description else []


def is_in_transaction(conn: psycopg.Connection[Any]) -> bool:
    """Returns whether statements can be run in an open transaction."""
    return (
        not conn.closed
        and conn.pgconn.transaction_status == TransactionStatus.INTRANS
        and conn.pgconn.pipeline_status == PipelineStatus.OFF
    )


def place_of(test: Path) -> str:
    """Returns where a statement is run: the line of the application, and that of the test which has led to it."""
    frames = list(callers(sys._getframe()))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - inspect reads sources
    application = [one for one in frames if is_of_application(one.f_code.co_filename)]
    in_test = [one for one in frames if one.f_code.co_filename == str(test)]
    places = [line_of(found[0]) for found in (application, in_test) if found]
    return ", called at ".join(dict.fromkeys(places)) or "an unknown place"


def callers(frame: FrameType | None) -> Iterator[FrameType]:
    """Returns a frame and those that have called it."""
    while frame:
        yield frame
        frame = frame.f_back


def is_of_application(path: str) -> bool:
    """Returns whether a file is neither installed nor a part of pgaudit."""
    return not path.startswith((*INSTALLED, OURS, "<"))


def line_of(frame: FrameType) -> str:
    """Returns file and line, as pytest and editors read them."""
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{frame.f_lineno}"
