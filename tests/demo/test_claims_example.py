"""The demo's application, run by itself."""

import os
import subprocess
import sys
from decimal import Decimal

import psycopg
import pytest

from pgaudit import Settings, trail, worker
from pgaudit.demo import claims


def test_the_example_prints_the_trail_of_its_claim(dsn: str) -> None:
    """The claim is submitted, approved and settled; the rolled back payment has no event."""
    with worker.start_in_thread(Settings(dsn=dsn)):
        environment = os.environ | {"PGAUDIT_DSN": dsn}
        result = subprocess.run(
            [sys.executable, "-m", "pgaudit.demo.claims"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    lines = result.stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["0", "claim.submitted", "customer:ada"],
        ["1", "claim.approved", "clerk:42"],
        ["2", "claim.settled", "service:payments"],
    ]
    assert "pay-2" in lines[2]
    assert "pay-1" not in result.stdout


def test_a_claim_in_another_status_is_refused_without_an_event(conn: psycopg.Connection) -> None:
    """A submitted claim cannot be settled, and no event says that it was."""
    conn.execute(claims.CREATE_TABLE)
    claim = claims.submit(conn, "Ada", Decimal(100))
    conn.commit()
    with pytest.raises(claims.WrongStatus, match="is not approved"):
        claims.settle(conn, claim, "pay-1")
    queued = conn.execute("SELECT event->>'action' FROM pgaudit.audit_jobs").fetchall()
    assert queued == [("claim.submitted",)]
    assert trail.of_target(conn, "claim", str(claim)) == []
