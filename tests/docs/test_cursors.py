"""The readers of the log that the documentation shows."""

import psycopg
import pytest

from docs.code import cursors_
from tests.support.streams import append


def test_each_event_is_counted_once(dsn: str) -> None:
    """Also after a transaction that was rolled back."""
    append(dsn, 3)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE approvals AS SELECT 0 AS number")
        with conn.transaction(force_rollback=True):
            assert cursors_.count_approvals(conn) == 3
        assert [cursors_.count_approvals(conn) for _ in range(2)] == [3, 0]
        append(dsn, 2)
        assert cursors_.count_approvals(conn) == 2
        assert conn.execute("SELECT number FROM approvals").fetchone() == (5,)


async def test_new_events_are_yielded_behind_the_last_one(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an application whose settings come from the environment."""
    monkeypatch.setenv("PGAUDIT_DSN", dsn)
    append(dsn, 3)
    seen = cursors_.watch(0)
    assert [await anext(seen), await anext(seen)] == ["1 claim.approved", "2 claim.approved"]
