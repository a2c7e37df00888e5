"""What roles that do not own the schema can do to streams."""

import psycopg
import pytest

from pgaudit import grants, streams
from tests.support.queries import Connection
from tests.support.roles import temporary_roles
from tests.support.streams import append

TABLES = ("stream", "stream_position", "stream_replay", "delivery", "parked")


@pytest.mark.parametrize("table", TABLES)
def test_a_role_with_rights_on_all_tables_cannot_write_to_them(dsn: str, conn: Connection, table: str) -> None:
    """It must not let events be sent again, or left out, without an event that says so."""
    with temporary_roles(dsn, "t_all"):
        conn.execute("GRANT USAGE ON SCHEMA pgaudit TO t_all; GRANT ALL ON ALL TABLES IN SCHEMA pgaudit TO t_all")
        conn.commit()
        with psycopg.connect(dsn, user="t_all") as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute(f"DELETE FROM pgaudit.{table}")


@pytest.mark.parametrize("index", [4, 11])
def test_a_worker_cannot_move_a_stream_back_or_beyond_the_log(dsn: str, index: int) -> None:
    """With its functions alone: what was sent is sent again, or never will be, only if an operator says so."""
    append(dsn, 10)
    with temporary_roles(dsn, "t_worker"), psycopg.connect(dsn, autocommit=True) as conn:
        grants.grant(conn, worker="t_worker")
        streams.add(conn, "siem", to="file:/nowhere", start=5)
        with (
            psycopg.connect(dsn, user="t_worker") as worker,
            pytest.raises(psycopg.Error, match=f"cannot move to {index}"),
        ):
            worker.execute("SELECT pgaudit.move_stream('siem', %s, NULL, NULL, 1, 0, '[]', NULL)", [index])
