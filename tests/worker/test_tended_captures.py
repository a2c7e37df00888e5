"""A worker completes the captures of partitioned tables, and ends those of dropped ones."""

import pytest

from pgaudit import Settings
from pgaudit.grants import grant
from tests.support.queries import Connection, value_and_commit
from tests.support.roles import temporary_roles
from tests.support.waiting import wait_until_async
from tests.support.worker import working

pytestmark = pytest.mark.anyio

TABLES = """
    CREATE TABLE parted (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE dropped (id bigint PRIMARY KEY);
    SELECT pgaudit.add_capture('parted', 'part', '{id}'), pgaudit.add_guard('dropped', 'part', '{id}');
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
    DROP TABLE dropped
"""
TENDED = """
    SELECT NOT EXISTS (SELECT FROM pgaudit.guarded_table) AND NOT EXISTS (SELECT FROM pgaudit.capture_problems())
"""


async def test_a_worker_tends_captures(conn: Connection, settings: Settings) -> None:
    """As a plain worker, which owns neither schema nor table."""
    conn.execute(TABLES)
    conn.commit()
    assert not value_and_commit(conn, TENDED)
    with temporary_roles(conn.info.dsn, "t_tender"):
        grant(conn, worker="t_tender")
        conn.commit()
        async with working(settings.model_copy(update={"dsn": f"{conn.info.dsn} user=t_tender"})):
            await wait_until_async("captures are tended", lambda: bool(value_and_commit(conn, TENDED)))
