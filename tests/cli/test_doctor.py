"""``pgaudit doctor``: what it sees, and which remedy it names."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent
from pgaudit.recording import spool
from tests.support.command_line import Run
from tests.support.roles import temporary_roles


@pytest.fixture
def role(dsn: str) -> Iterator[str]:
    """A plain role without rights."""
    with temporary_roles(dsn, "t_cli_doctor"):
        yield "t_cli_doctor"


def examine(run: Run, **options: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and the findings by name."""
    result = run("doctor", "--json", **options)
    assert result.stderr == ""
    findings: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(result.stdout):
        findings.setdefault(finding["name"], []).append(finding)
    return result.returncode, findings


def test_a_sound_installation_has_no_fault(run: Run, role: str, dsn: str) -> None:
    """Every part is looked at: versions, settings, spool, server, clock, role, schema, triggers."""
    run("grant", "--writer", role, "--reader", role)
    code, found = examine(run, dsn=f"{dsn} user={role}")
    assert code == 0
    assert {"versions", "settings", "spool", "database", "clock", "role", "schema", "triggers"} <= found.keys()
    assert found["role"][0]["message"] == f"{role}: writer, reader"
    for name in ("psycopg", "procrastinate", "Python"):
        assert name in found["versions"][0]["message"]
    assert found["database"][0]["message"].startswith("PostgreSQL 1")


def test_secrets_are_masked(run: Run, dsn: str) -> None:
    """Neither a password nor the admin token is printed; what else is set is."""
    dsn = f"{dsn} password=hunter2"
    for form in ((), ("--json",)):
        result = run("doctor", *form, dsn=dsn, PGAUDIT_ADMIN_TOKEN="hunter3-of-some-length", PGAUDIT_BATCH_SIZE="77")
        assert "hunter" not in result.stdout + result.stderr
        assert "PGAUDIT_BATCH_SIZE=77" in result.stdout
        assert "password=***" in result.stdout
        assert "PGAUDIT_ADMIN_TOKEN=***" in result.stdout


def test_a_misspelled_variable_is_named(run: Run) -> None:
    """A variable that is no setting changes nothing, so it is a warning with the name that was meant."""
    _, found = examine(run, PGAUDIT_BATCHSIZE="3")
    assert found["settings"][1] == {
        "name": "settings",
        "level": "warning",
        "message": "PGAUDIT_BATCHSIZE is not a setting, so it is ignored",
        "remedy": "write PGAUDIT_BATCH_SIZE",
    }


def test_a_role_without_rights_is_a_fault(run: Run, role: str, dsn: str) -> None:
    """The remedy names the role."""
    code, found = examine(run, dsn=f"{dsn} user={role}")
    assert code == 1
    assert found["role"][0]["level"] == "fault"
    assert f"pgaudit grant --writer {role}" in found["role"][0]["remedy"]


def test_a_role_that_writes_all_tables_is_named(run: Run, role: str, conn: psycopg.Connection) -> None:
    """A member of pg_write_all_data is a warning, because it can insert jobs that pgaudit.record has not checked."""
    conn.execute(f"GRANT pg_write_all_data TO {role}")
    conn.commit()
    _, found = examine(run)
    assert {"level": "warning", "remedy": f'REVOKE pg_write_all_data FROM "{role}"'}.items() <= found["role"][
        -1
    ].items()


def test_a_missing_schema_is_a_fault(run: Run, empty_dsn: str) -> None:
    """The remedy is to migrate, and not a grant."""
    code, found = examine(run, dsn=empty_dsn)
    assert code == 1
    assert found["schema"][0]["remedy"] == "run `pgaudit migrate` as the owner"
    assert "role" not in found


def test_a_disabled_trigger_is_a_fault_with_the_statement_that_enables_it(run: Run, conn: psycopg.Connection) -> None:
    """What was changed by hand is named, each with its remedy."""
    row = conn.execute(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'pgaudit.audit_jobs'::regclass AND NOT tgisinternal LIMIT 1"
    ).fetchone()
    assert row is not None
    conn.execute(f"ALTER TABLE pgaudit.audit_jobs DISABLE TRIGGER {row[0]}".encode())
    conn.commit()
    code, found = examine(run)
    assert code == 1
    (finding,) = found["triggers"]
    assert finding["level"] == "fault"
    assert "is disabled" in finding["message"]
    conn.execute(finding["remedy"])
    conn.commit()
    assert examine(run)[1]["triggers"][0]["level"] == "ok"


def test_waiting_events_in_the_spool_are_a_warning(run: Run, tmp_path: Path) -> None:
    """doctor prints the number and size of spooled events, and how to replay them."""
    spool.append(tmp_path, [AuditEvent(action="claim.approved").to_json()], None)
    tmp_path.chmod(0o755)
    code, found = examine(run, PGAUDIT_SPOOL_DIR=str(tmp_path))
    assert code == 0
    assert "1 event(s) in 1 file(s)" in found["spool"][0]["message"]
    assert found["spool"][1]["remedy"] == f"run chmod 700 {tmp_path}"


def test_a_database_that_cannot_be_reached_is_one_fault_among_the_findings(run: Run) -> None:
    """What is on this machine is printed all the same."""
    code, found = examine(run, dsn="host=127.0.0.1 port=1 user=x dbname=x")
    assert code == 3
    assert found["versions"][0]["level"] == "ok"
    assert "Connection refused" in found["database"][0]["message"]


def test_people_read_a_line_for_each_finding(run: Run) -> None:
    """Level, name, what was seen, and the remedy."""
    lines = run("doctor", PGAUDIT_MODE="off").stdout.splitlines()
    assert any(line.startswith("ok       versions     pgaudit ") for line in lines)
    assert any(line.startswith("warning  settings ") and line.endswith("unset it") for line in lines)
