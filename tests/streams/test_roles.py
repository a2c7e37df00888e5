"""What roles that do not own the schema can do to streams."""

import psycopg
import pytest

from tests.support.queries import Connection
from tests.support.roles import temporary_roles

TABLES = ("stream", "stream_position", "stream_replay", "delivery", "parked")


@pytest.mark.parametrize("table", TABLES)
def test_a_role_with_rights_on_all_tables_cannot_write_to_them(dsn: str, conn: Connection, table: str) -> None:
    """It must not let events be sent again, or left out, without an event that says so."""
    with temporary_roles(dsn, "t_all"):
        conn.execute("GRANT USAGE ON SCHEMA pgaudit TO t_all; GRANT ALL ON ALL TABLES IN SCHEMA pgaudit TO t_all")
        conn.commit()
        with psycopg.connect(dsn, user="t_all") as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute(f"DELETE FROM pgaudit.{table}")
