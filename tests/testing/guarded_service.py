"""An application with guarded tables, whose own tests are run in a process of their own."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

SERVICE = """
    from pgaudit import AuditEvent, AuditLog

    audit = AuditLog()

    def pay(conn, claim):
        conn.execute("UPDATE claims SET status = 'paid' WHERE id = %s", [claim])

    def approve(conn, claim):
        conn.execute("UPDATE claims SET status = 'approved' WHERE id = %s", [claim])
        audit.record(conn, AuditEvent(action="claim.approved", target=f"claim:{claim}"))
"""
CONFTEST = """
    import os
    import psycopg
    import pytest

    @pytest.fixture
    def conn():
        conn = psycopg.connect(os.environ["TEST_DSN"])
        yield conn
        conn.rollback()
        conn.close()
"""
TABLES = """
    CREATE TABLE claims (id int PRIMARY KEY, status text);
    CREATE TABLE payments (id int PRIMARY KEY);
    CREATE TABLE notes (id int PRIMARY KEY);
    INSERT INTO claims VALUES (1, 'open'), (2, 'open'), (3, 'open');
    SELECT pgaudit.add_guard('claims', 'claim', '{id}');
    SELECT pgaudit.add_guard('payments', 'payment', '{id}', 'warn');
"""


@pytest.fixture
def service(application: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, dsn: str) -> pytest.Pytester:
    """An application whose table of claims is guarded, and a fixture of its own that rolls back."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TABLES)
    parameters = conninfo_to_dict(dsn)
    monkeypatch.setenv("TEST_DSN", dsn)
    monkeypatch.setenv(
        "TEST_URL",
        f"postgresql+psycopg://{parameters['user']}@/{parameters['dbname']}?host={parameters['host']}&port={parameters['port']}",
    )
    application.makepyfile(service=SERVICE)
    application.makeconftest(CONFTEST)
    return application


def outcomes(result: pytest.RunResult) -> dict[str, str]:
    """Returns the outcome of each test by its name."""
    lines = [line.split() for line in result.outlines if "::test_" in line and "%]" in line]
    return {line[0].rpartition("::test_")[2]: line[1] for line in lines}
