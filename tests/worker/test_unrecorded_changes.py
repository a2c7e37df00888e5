"""What a worker does with changes that a guard has let pass: it sends a signal for each, and deletes old ones."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgaudit import Settings, signals
from pgaudit.grants import grant
from tests.support.queries import Connection, value_and_commit
from tests.support.roles import temporary_roles
from tests.support.tampering import tamper
from tests.support.waiting import wait_until_async
from tests.support.worker import working

pytestmark = pytest.mark.anyio

GUARD = "CREATE TABLE payments (id bigint PRIMARY KEY); SELECT pgaudit.add_guard('payments', 'payment', '{id}', 'warn')"
COUNT = "SELECT count(*) FROM pgaudit.unrecorded_change"


@pytest.fixture
def received() -> Iterator[list[dict[str, Any]]]:
    """The details of the signals that are sent."""
    found: list[dict[str, Any]] = []

    def receive(_name: str, **details: Any) -> None:
        found.append(details)

    signals.unrecorded_change.connect(receive)
    yield found
    signals.unrecorded_change.disconnect(receive)


async def test_each_finding_is_told_once_by_one_of_the_workers(
    conn: Connection, settings: Settings, received: list[dict[str, Any]]
) -> None:
    """With what a person needs to find the code that did it."""
    conn.execute(GUARD)
    conn.execute("SET application_name = 'nightly'")
    conn.commit()
    for count in (1, 2, 3):
        conn.execute(
            "INSERT INTO payments SELECT n FROM generate_series(%s::int, %s::int) n",
            [count * 10, count * 10 + count - 1],
        )
        conn.commit()
    with temporary_roles(conn.info.dsn, "t_teller"):
        grant(conn, worker="t_teller")
        conn.commit()
        plain = settings.model_copy(update={"dsn": f"{conn.info.dsn} user=t_teller"})
        async with working(plain), working(plain):
            await wait_until_async("three findings are told", lambda: len(received) >= 3)
    assert sorted(details["count"] for details in received) == [1, 2, 3]
    (first,) = [details for details in received if details["count"] == 1]
    assert first["transaction"].isdigit()
    assert {name: first[name] for name in ("table", "operation", "targets", "role", "application")} == {
        "table": "public.payments",
        "operation": "insert",
        "targets": ["payment:10"],
        "role": conn.info.user,
        "application": "nightly",
    }


async def test_findings_older_than_90_days_are_deleted(conn: Connection, settings: Settings) -> None:
    """The others are kept."""
    conn.execute(GUARD)
    conn.execute("INSERT INTO payments VALUES (1), (2)")
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    conn.execute("UPDATE payments SET id = 3 WHERE id = 2")
    conn.commit()
    assert value_and_commit(conn, COUNT) == 2
    tamper(
        conn, "UPDATE pgaudit.unrecorded_change SET found_at = found_at - interval '91 d' WHERE operation = 'insert'"
    )
    async with working(settings):
        await wait_until_async("one is left", lambda: value_and_commit(conn, COUNT) == 1)
    assert value_and_commit(conn, "SELECT operation FROM pgaudit.unrecorded_change") == "update"


async def test_workers_that_ask_at_once_share_the_findings(dsn: str, conn: Connection) -> None:
    """One does not wait for another, and none is told twice."""
    conn.execute(GUARD)
    conn.execute("INSERT INTO payments VALUES (1)")
    conn.commit()
    claimed = "SELECT count(*) FROM pgaudit.claim_unrecorded_changes()"
    with psycopg.connect(dsn, options="-c lock_timeout=5s") as other:
        assert conn.execute(claimed).fetchone() == (1,)
        assert other.execute(claimed).fetchone() == (0,)
