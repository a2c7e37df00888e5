"""The health check of verifications: what it says of the last one, when it is overdue, and when a finding stands."""

import psycopg
import pytest

from pgaudit import Settings, health
from pgaudit.health import Check, Status
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit

NOTE = "SELECT pgaudit.note_verification(%s, %s, %s, %s, %s, %s)"
FOUND = '[{"name": "altered", "message": "event 1 was altered", "index": 1}]'
SIGN = "SELECT pgaudit.add_checkpoint(4, E'log\n4\nroot\n\n— log signature\n')"
DAYS = "verified_at = verified_at - %s * interval '1 day'"


def verification(conn: psycopg.Connection, interval: float = 3_600.0) -> Check:
    """Returns the check of the verifications."""
    report = health.check(conn, Settings(verify_interval=interval))
    (check,) = [check for check in report.checks if check.name == "verification"]
    return check


@pytest.fixture
def log(conn: psycopg.Connection) -> psycopg.Connection:
    """A connection to a log of five events, four of them signed two days ago; its triggers are off."""
    record_persist_and_commit(conn, *events(5))
    conn.execute(SIGN)
    conn.execute("ALTER TABLE pgaudit.checkpoint DISABLE TRIGGER reject_direct_write")
    conn.execute("ALTER TABLE pgaudit.verification DISABLE TRIGGER reject_direct_write")
    conn.execute("ALTER TABLE pgaudit.sealing_state DISABLE TRIGGER reject_direct_write")
    conn.execute("UPDATE pgaudit.checkpoint SET signed_at = now() - interval '2 days'")
    return conn


def test_a_log_that_was_never_signed_need_not_be_verified(conn: psycopg.Connection) -> None:
    """Nothing is overdue without a key."""
    assert verification(conn).status is Status.HEALTHY
    assert verification(conn).message == "The log was not verified by a worker yet: run `pgaudit verify`."


def test_the_level_and_the_age_of_the_whole_verification_are_told(log: psycopg.Connection) -> None:
    """And what was verified since."""
    log.execute(NOTE, [0, 3, True, "anchored", 0, "[]"])
    log.execute(f"UPDATE pgaudit.verification SET {DAYS}", [5])
    log.execute(NOTE, [0, 5, False, "signed", 0, "[]"])
    check = verification(log)
    assert check.status is Status.HEALTHY
    assert check.message == (
        "All of the log, 3 events, was verified 5 d ago; assurance: anchored. 2 newer ones 0 s ago."
    )


def test_one_event_is_counted_in_the_singular(log: psycopg.Connection) -> None:
    """The message is a sentence for people."""
    log.execute(NOTE, [0, 1, True, "signed", 0, "[]"])
    assert verification(log).message.startswith("All of the log, 1 event, was verified 0 s ago")


def test_verifications_that_do_not_come_are_degraded(log: psycopg.Connection) -> None:
    """None since the log is signed, the last one too old, or only those of what is new; not while one goes on."""
    assert verification(log).status is Status.DEGRADED
    assert verification(log).message.startswith("Nothing was verified for 2 d, and should be every 1 h: start a worker")
    assert verification(log, interval=0).status is Status.HEALTHY
    log.execute(NOTE, [0, 5, True, "signed", 0, "[]"])
    assert verification(log).status is Status.HEALTHY
    log.execute(f"UPDATE pgaudit.verification SET {DAYS}", [22])
    log.execute(NOTE, [0, 5, False, "signed", 0, "[]"])
    assert verification(log).message.startswith("The log was not verified as a whole for 22 d, and should be every 7 d")
    log.execute("UPDATE pgaudit.sealing_state SET verifying_at = clock_timestamp()")
    assert verification(log).status is Status.HEALTHY


def test_a_verification_without_an_end_is_degraded(log: psycopg.Connection) -> None:
    """A worker that hangs, or only says that it verifies, keeps all others from it."""
    log.execute(NOTE, [0, 5, True, "signed", 0, "[]"])
    log.execute("UPDATE pgaudit.sealing_state SET verifying_at = clock_timestamp()")
    log.execute(f"UPDATE pgaudit.verification SET {DAYS}", [41])
    assert verification(log).status is Status.HEALTHY
    log.execute(f"UPDATE pgaudit.verification SET {DAYS}", [2])
    assert verification(log).status is Status.DEGRADED


def test_a_finding_is_unhealthy_until_it_is_settled(log: psycopg.Connection) -> None:
    """By a verification of the same events, and not by one of newer ones."""
    log.execute(NOTE, [0, 5, True, None, 1, FOUND])
    assert verification(log).status is Status.UNHEALTHY
    assert "The log does not verify: event 1 was altered." in verification(log).message
    log.execute(NOTE, [4, 5, False, "signed", 0, "[]"])
    assert verification(log).status is Status.UNHEALTHY
    log.execute(NOTE, [0, 5, False, "signed", 0, "[]"])
    assert verification(log).status is Status.HEALTHY


def test_a_finding_without_a_message_is_unhealthy(log: psycopg.Connection) -> None:
    """Any worker may note a verification, with any object for a finding."""
    log.execute(NOTE, [0, 5, True, None, 2, "[{}]"])
    assert verification(log).status is Status.UNHEALTHY
    assert "The log does not verify: 2 findings." in verification(log).message


@pytest.mark.parametrize(("count", "found"), [(1, "[]"), (0, FOUND), (1, '["altered"]'), (1, "[[{}]]"), (1, "{}")])
def test_what_is_no_result_cannot_be_noted(log: psycopg.Connection, count: int, found: str) -> None:
    """The dashboard and health read each finding as an object, and take the first one for the reason."""
    with pytest.raises(psycopg.errors.CheckViolation):
        log.execute(NOTE, [0, 5, True, None if count else "signed", count, found])
