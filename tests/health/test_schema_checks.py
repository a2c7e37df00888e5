"""Health checks of the schema: its version, changes by hand, its owner."""

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from pgaudit import health
from pgaudit._schema.state import SCRIPTS
from pgaudit.health.status import Check, Status


def checks(conn: psycopg.Connection[Any]) -> dict[str, Check]:
    """Returns the checks of health by name."""
    return {check.name: check for check in health.check(conn).checks}


def test_a_fresh_schema_is_healthy(conn: psycopg.Connection[Any]) -> None:
    """A fresh schema is current and unchanged; a superuser as owner is named, but healthy."""
    found = checks(conn)
    version = found["schema_version"]
    assert version.status == Status.HEALTHY
    assert version.observed == str(SCRIPTS.state)
    assert found["schema_unchanged"].status is Status.HEALTHY
    owner = found["schema_owner"]
    assert owner.status == Status.HEALTHY
    assert owner.observed == "postgres"
    assert owner.message.startswith("The owner of the schema pgaudit, postgres, is a superuser")


def test_changed_code_is_too_old(conn: psycopg.Connection[Any]) -> None:
    """Another checksum of the code is too old, even under the same revision."""
    conn.execute("UPDATE pgaudit.schema_code SET checksum = 'old'")
    found = checks(conn)
    assert found["schema_version"].status is Status.UNHEALTHY
    assert "run `pgaudit migrate`" in found["schema_version"].message
    assert found["schema_unchanged"].message.startswith("Not compared")


@pytest.mark.parametrize(
    "newer", ["UPDATE pgaudit.alembic_version SET version_num = '9999'",
              "UPDATE pgaudit.schema_code SET checksum = 'new', version = '999.0'"],
)  # fmt: skip
def test_a_newer_schema_is_healthy(conn: psycopg.Connection[Any], newer: str) -> None:
    """A newer schema is healthy, because it is migrated before the code is replaced."""
    conn.execute(newer)
    version = checks(conn)["schema_version"]
    assert version.status == Status.HEALTHY
    assert "newer than this code" in version.message


def test_changes_by_hand_are_named(conn: psycopg.Connection[Any]) -> None:
    """The check names three differences, and the command that names all."""
    for table in ("audit_jobs", "audit_log", "batch", "job_error"):
        conn.execute(f"CREATE RULE swallow AS ON INSERT TO pgaudit.{table} DO INSTEAD NOTHING")
    unchanged = checks(conn)["schema_unchanged"]
    assert unchanged.status == Status.DEGRADED
    assert unchanged.observed == 4
    assert unchanged.message.count("rule swallow on") == 3
    assert unchanged.message.endswith(" … and 1 more: see `pgaudit migrate --check`.")


async def test_checks_are_the_same_for_every_kind_of_connection(dsn: str) -> None:
    """Asynchronous connections and other row factories give the same checks."""
    with psycopg.connect(dsn, row_factory=dict_row) as conn:
        expected = [(check.name, check.status) for check in health.check(conn).checks]
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as conn:
        found = [(check.name, check.status) for check in (await health.check_async(conn)).checks]
    assert found == expected


def test_a_check_leaves_the_settings_of_the_transaction(conn: psycopg.Connection[Any]) -> None:
    """Settings that the fingerprint changes are restored."""
    conn.execute("SET LOCAL search_path = somewhere")
    health.check(conn)
    assert conn.execute("SHOW search_path").fetchone() == ("somewhere",)
