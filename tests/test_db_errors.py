"""Errors in a line of the log: what may be told of them, and what to do."""

import psycopg
import pytest
from psycopg import errors

from pgaudit._db_errors import safe_summary


@pytest.mark.parametrize("kind", [errors.UndefinedTable, errors.UndefinedFunction])
def test_what_is_missing_is_migrated(kind: type[psycopg.Error]) -> None:
    """Neither table nor function is there: the line says what to do."""
    assert safe_summary(kind("it is not there")) == (
        f"{kind.__name__}, SQLSTATE {kind.sqlstate}: it is not there; run `pgaudit migrate`"
    )


def test_a_schema_that_is_missing_is_migrated() -> None:
    """The advice names the command."""
    assert (
        safe_summary(errors.InvalidSchemaName("secret")) == "InvalidSchemaName, SQLSTATE 3F000; run `pgaudit migrate`"
    )


def test_a_right_that_is_missing_is_granted() -> None:
    """The advice names the command."""
    brief = safe_summary(errors.InsufficientPrivilege("permission denied"))
    assert brief == "InsufficientPrivilege, SQLSTATE 42501: permission denied; see `pgaudit grant`"


def test_an_error_of_another_driver_says_so_too() -> None:
    """By its SQLSTATE; its message, which is not known to be harmless, is not told."""

    class UndefinedTableError(Exception):
        """As asyncpg has it."""

        sqlstate = "42P01"

    error = RuntimeError("wrapped")
    error.__cause__ = UndefinedTableError("secret")
    assert safe_summary(error) == "UndefinedTableError, SQLSTATE 42P01; run `pgaudit migrate`"


def test_any_other_error_ends_as_it_did() -> None:
    """There is nothing that pgaudit could advise."""
    assert safe_summary(errors.DiskFull("disk full")) == "DiskFull, SQLSTATE 53100: disk full"
    assert safe_summary(errors.UniqueViolation("Key (id)=(secret)")) == "UniqueViolation, SQLSTATE 23505"
