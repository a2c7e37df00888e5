"""Workers that the database refuses, because the schema, a right, the database or the role is missing."""

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import Settings, grants
from pgaudit.errors import WorkerRefused
from pgaudit.worker.supervisor import supervise
from tests.support.roles import temporary_roles
from tests.support.waiting import wait_until_async

pytestmark = pytest.mark.anyio

WITHOUT_RIGHT = ("t_stranger", "t_reader", "t_writer")
KINDS = {"t_reader": "reader", "t_writer": "writer"}
CAUSES = {
    "unmigrated": "has no schema of pgaudit: run `pgaudit migrate`",
    "another schema": "has no schema of pgaudit: run `pgaudit migrate`",
    **{role: f"the role {role} is not a worker in .*: run `pgaudit grant --worker {role}`" for role in WITHOUT_RIGHT},
    "no database": 'database "nowhere" does not exist; correct the DSN, or create it',
    "no role": 'role "t_nobody" does not exist; correct the DSN, or create it',
}


@pytest.fixture(params=CAUSES)
def refused(request: pytest.FixtureRequest, dsn: str, empty_dsn: str) -> Iterator[tuple[Settings, str]]:
    """Settings with which a worker is refused, and a pattern of the cause and the remedy."""
    situation = request.param
    where = {
        "unmigrated": empty_dsn,
        "another schema": empty_dsn,
        "no database": make_conninfo(dsn, dbname="nowhere"),
        "no role": make_conninfo(dsn, user="t_nobody"),
    }
    with ExitStack() as stack:
        if situation == "another schema":
            with psycopg.connect(empty_dsn) as conn:
                conn.execute("CREATE SCHEMA pgaudit CREATE TABLE notes (id integer)")
        if situation in WITHOUT_RIGHT:
            stack.enter_context(temporary_roles(dsn, situation))
            where[situation] = make_conninfo(dsn, user=situation)
            with psycopg.connect(dsn) as conn:
                if kind := KINDS.get(situation):
                    grants.grant(conn, **{kind: situation})
        yield Settings(dsn=where[situation], poll_interval=0.01), CAUSES[situation]


async def test_a_refused_worker_says_so_in_one_line(
    refused: tuple[Settings, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A refused worker logs its attempts at growing intervals, each in one line with the cause and the remedy."""
    settings, cause = refused
    stop = asyncio.Event()
    with caplog.at_level(logging.WARNING):
        supervised = asyncio.create_task(supervise(settings, stop))
        await wait_until_async("it has tried a third time", lambda: "more like it since" in caplog.text)
        stop.set()
        await supervised
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2, lines
    pattern = f"worker ended, starting again in .* s: .*{cause}"
    for line in lines:
        assert re.match(pattern, line), line
        assert "\n" not in line


async def test_a_refused_worker_ends_when_told_to(refused: tuple[Settings, str]) -> None:
    """With PGAUDIT_WORKER_EXIT_ON_REFUSAL a refused worker raises WorkerRefused instead of trying again."""
    settings, cause = refused
    ending = settings.model_copy(update={"worker_exit_on_refusal": True})
    async with asyncio.timeout(60):
        with pytest.raises(WorkerRefused, match=f"this worker cannot work: .*{cause}"):
            await supervise(ending, asyncio.Event())
