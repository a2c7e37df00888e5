"""Database errors in a line of the application log: what may be printed, and what to do."""

import psycopg
import pytest
from psycopg import errors

from pgaudit._db_errors import safe_summary


@pytest.mark.parametrize("kind", [errors.UndefinedTable, errors.UndefinedFunction])
def test_a_missing_table_or_function_is_answered_with_migrate(kind: type[psycopg.Error]) -> None:
    """The summary of a missing table or function advises to run migrate."""
    assert safe_summary(kind("it is not there")) == (
        f"{kind.__name__}, SQLSTATE {kind.sqlstate}: it is not there; run `pgaudit migrate`"
    )


def test_a_missing_schema_is_answered_with_migrate() -> None:
    """The summary of a missing schema advises to run migrate, and leaves out the message."""
    assert (
        safe_summary(errors.InvalidSchemaName("secret")) == "InvalidSchemaName, SQLSTATE 3F000; run `pgaudit migrate`"
    )


def test_a_missing_right_is_answered_with_grant() -> None:
    """The summary of a missing right advises to use grant."""
    brief = safe_summary(errors.InsufficientPrivilege("permission denied"))
    assert brief == "InsufficientPrivilege, SQLSTATE 42501: permission denied; see `pgaudit grant`"


def test_an_error_of_another_driver_is_recognized_by_its_sqlstate() -> None:
    """Only psycopg's messages are known to be harmless, so that of another driver is left out."""

    class UndefinedTableError(Exception):
        """An error as asyncpg raises it."""

        sqlstate = "42P01"

    error = RuntimeError("wrapped")
    error.__cause__ = UndefinedTableError("secret")
    assert safe_summary(error) == "UndefinedTableError, SQLSTATE 42P01; run `pgaudit migrate`"


def test_other_errors_get_no_advice() -> None:
    """Other errors are summarized without advice, and without a message that may quote data."""
    assert safe_summary(errors.DiskFull("disk full")) == "DiskFull, SQLSTATE 53100: disk full"
    assert safe_summary(errors.UniqueViolation("Key (id)=(secret)")) == "UniqueViolation, SQLSTATE 23505"
