"""The health check of anchors: degraded when one lags behind, with its last error, and never worse."""

import psycopg
import pytest

from pgaudit import Settings, health
from pgaudit.health import Check, Status
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit

NOTE = "log\n{size}\nroot\n\n— log signature\n"
AGE = "UPDATE pgaudit.checkpoint SET signed_at = now() - %s * interval '1 second'"


def anchors(conn: psycopg.Connection, interval: float = 10.0) -> Check:
    """Returns the check of the anchors."""
    report = health.check(conn, Settings(checkpoint_interval=interval))
    (check,) = [check for check in report.checks if check.name == "anchors"]
    return check


def sign_checkpoints(conn: psycopg.Connection, *sizes: int) -> None:
    """Stores checkpoints of the first events, and makes two anchors known."""
    record_persist_and_commit(conn, *events(max(sizes)))
    for size in sizes:
        conn.execute("SELECT pgaudit.add_checkpoint(%s, %s)", [size, NOTE.format(size=size)])
    conn.execute("SELECT * FROM pgaudit.claim_anchors('{file:/a,https://b}', now(), '0')")


def date_back(conn: psycopg.Connection, seconds: float) -> None:
    """Makes the checkpoints that old, as the owner can with the trigger off."""
    conn.execute("ALTER TABLE pgaudit.checkpoint DISABLE TRIGGER reject_direct_write")
    conn.execute(AGE, [seconds])
    conn.execute("ALTER TABLE pgaudit.checkpoint ENABLE ALWAYS TRIGGER reject_direct_write")


def test_without_anchors_the_check_is_healthy(conn: psycopg.Connection) -> None:
    """Anchors are an option."""
    assert anchors(conn) == Check("anchors", Status.HEALTHY, 0.0, 100.0, "There is no anchor (PGAUDIT_ANCHORS).")


def test_anchors_that_have_all_checkpoints_are_healthy(conn: psycopg.Connection) -> None:
    """An old checkpoint that an anchor has is no lag."""
    sign_checkpoints(conn, 3)
    date_back(conn, 1_000_000)
    for name in ("file:/a", "https://b"):
        conn.execute("SELECT pgaudit.note_anchored(%s, 3, now(), NULL)", [name])
    check = anchors(conn)
    assert (check.status, check.observed) == (Status.HEALTHY, 0.0)
    assert check.message == "2 anchor(s) follow the checkpoints."


@pytest.mark.parametrize(("interval", "limit"), [(1.0, 10), (10.0, 100), (600.0, 300)])
def test_an_anchor_that_is_late_is_degraded_with_its_error(
    conn: psycopg.Connection, interval: float, limit: int
) -> None:
    """The lag counts from the oldest checkpoint that it does not have; ten intervals, or five minutes, are too long."""
    sign_checkpoints(conn, 1, 3)
    conn.execute("SELECT pgaudit.note_anchored('file:/a', 3, now(), NULL)")
    conn.execute("SELECT pgaudit.note_anchored('https://b', 1, now(), NULL)")
    conn.execute("SELECT pgaudit.note_anchor_failure('https://b', now(), 'it answers 503 Service Unavailable')")
    date_back(conn, limit - 5)
    assert anchors(conn, interval).status is Status.HEALTHY
    date_back(conn, limit + 5)
    check = anchors(conn, interval)
    assert (check.status, check.threshold) == (Status.DEGRADED, limit)
    assert isinstance(check.observed, float)
    assert limit < check.observed < limit + 60
    assert check.message == (
        f"Checkpoints do not reach all anchors: https://b is {check.observed:.0f} s behind "
        "(it answers 503 Service Unavailable). They are tried again."
    )
