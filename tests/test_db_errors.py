"""Database errors in a line of the application log: what may be printed, and what to do."""

from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from pgaudit import AuditEvent, AuditLog, Settings, trail
from pgaudit._db_errors import hint_for_connection, safe_summary
from tests.support.drivers import SYNC
from tests.support.roles import temporary_roles


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


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ('password authentication failed for user "w"', "correct the password of the DSN, or the password file"),
        ('database "claims" does not exist', "correct the DSN, or create it"),
        ('permission denied for database "claims"\nDETAIL:  No CONNECT.', "GRANT CONNECT on the database to the role"),
        ('no pg_hba.conf entry for host "::1"', "allow the role and its address in pg_hba.conf"),
    ],
)
def test_a_refused_connection_is_answered_with_a_remedy_in_one_line(message: str, advice: str) -> None:
    """The summary of a refused connection has one line with a remedy, although libpq gives several and no SQLSTATE."""
    brief = safe_summary(psycopg.OperationalError(f"connection failed: FATAL:  {message}"))
    assert brief.endswith(f"; {advice}")
    assert "\n" not in brief


def test_a_server_that_does_not_answer_is_not_a_refusal() -> None:
    """An unreachable server gets no remedy, because it may answer later, whatever its socket's path is."""
    error = psycopg.OperationalError(
        'connection to server on socket "/does not exist" failed: No such file or directory'
    )
    assert hint_for_connection(error) == ""
    assert hint_for_connection(psycopg.OperationalError("FATAL:  the database system is starting up")) == ""


def test_the_error_of_recording_without_a_schema_says_to_migrate(empty_dsn: str) -> None:
    """The error of ``record`` through each library has a note that says to migrate."""
    audit, event = AuditLog(Settings(dsn=empty_dsn)), AuditEvent(action="claim.approved")
    for library in (psycopg.connect, *SYNC.values()):
        with pytest.raises(Exception, match="pgaudit") as error, library(empty_dsn) as conn:
            audit.record(conn, event)
        assert error.value.__notes__ == ["pgaudit: run `pgaudit migrate`"]


def test_the_error_of_reading_without_a_schema_says_to_migrate(empty_dsn: str) -> None:
    """The error of a reader has a note that says to migrate."""
    with psycopg.connect(empty_dsn) as conn, pytest.raises(psycopg.errors.UndefinedTable) as missing:
        trail.last(conn, 1)
    assert missing.value.__notes__ == ["pgaudit: run `pgaudit migrate`"]


def test_the_error_of_a_missing_right_names_grant(dsn: str) -> None:
    """The error of recording without the right to do so has a note about ``pgaudit grant``."""
    with temporary_roles(dsn, "t_without_rights"), psycopg.connect(dsn, user="t_without_rights") as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as error:
            AuditLog().record(conn, AuditEvent(action="claim.approved"))
        assert error.value.__notes__ == ["pgaudit: see `pgaudit grant`"]


def test_a_missing_dsn_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If libpq's defaults lead to no server, the error of an autonomous event says that PGAUDIT_DSN is not set."""
    monkeypatch.setenv("PGHOST", str(tmp_path))
    with pytest.raises(psycopg.OperationalError) as error:
        AuditLog(Settings(dsn="")).record_autonomous(AuditEvent(action="login.failed"))
    assert "PGAUDIT_DSN is not set" in error.value.__notes__[0]
