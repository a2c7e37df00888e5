"""An event is altered, found, and put back as the page on tampering says."""

import json
from pathlib import Path
from typing import get_args

import pytest

from pgaudit.sealing.keys import HighWaterMark, create, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.verify.findings import Name
from tests.docs.printed import ROOT, recipe, statements
from tests.docs.recipes.site import Site
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.tampering import tamper

PAGE = "operate/after-tampering.md"


@pytest.fixture
def altered(site: Site, tmp_path: Path) -> Site:
    """A sealed log whose event 7 was altered, and its backup from before."""
    keys = new_keys("audit.example.com/claims")
    create(tmp_path / "claims.key", keys)
    with site.connect() as conn:
        record_persist_and_commit(conn, *events(300))
        seal(conn, Signer(keys, HighWaterMark(tmp_path / "claims.key.mark")))
    with site.connect(database="postgres") as superuser:
        superuser.execute("CREATE DATABASE claims_backup TEMPLATE claims")
    with site.connect() as conn:
        tamper(conn, 'UPDATE pgaudit.audit_log SET event = event || \'{"reason": "forged"}\' WHERE index = 7')
    return site


def test_each_finding_is_explained() -> None:
    """The table has every name that a finding can have."""
    page = (ROOT / "docs" / PAGE).read_text()
    assert [name for name in get_args(Name) if f"| `{name}`" not in page] == []


def test_the_evidence_is_kept(altered: Site) -> None:
    """The findings, the checkpoints, the schema and the roles are in files."""
    altered.session(recipe(PAGE, "mkdir evidence"), "claims_audit")
    kept = {path.name: path.read_text() for path in (altered.directory / "evidence").iterdir()}
    (finding,) = json.loads(kept["findings.json"])["findings"]
    assert (finding["name"], finding["index"]) == ("altered", 7)
    assert kept["checkpoints.txt"].startswith("audit.example.com/claims\n300\n")
    assert "claims_audit" in kept["roles.txt"]
    assert "current" in kept["schema.txt"]


def test_the_original_proves_itself(altered: Site) -> None:
    """The hash of the event in the backup is the sealed one."""
    sealed, original = altered.session(recipe(PAGE, "substr(hashes")).split()
    assert sealed == original


def test_altered_leaves_are_listed(altered: Site) -> None:
    """After the forger has recomputed its hash, event 7 alone differs from the backup."""
    with altered.connect() as conn:
        hashed = "sha256('\\x00'::bytea || convert_to(event::text, 'UTF8'))"
        tamper(conn, f"UPDATE pgaudit.audit_log SET leaf_hash = {hashed} WHERE index = 7")
    printed = altered.session(recipe(PAGE, "diff then.txt"))
    assert "Verified: 300 events" in printed
    assert [line[:4] for line in printed.splitlines() if line.startswith("<")] == ["< 7|"]


def test_the_original_is_put_back(altered: Site) -> None:
    """The log verifies again, and has an event that says what was done."""
    with altered.connect(database="claims_backup") as backup, altered.connect() as conn:
        row = backup.execute("SELECT event::text, leaf_hash FROM pgaudit.audit_log WHERE index = 7").fetchone()
        conn.execute("CREATE TABLE original (index bigint, event jsonb, leaf_hash bytea)")
        conn.execute("INSERT INTO original VALUES (7, %s, %s)", row)
        for statement in statements(recipe(PAGE, "FROM original")):
            conn.execute(statement.encode())
        assert conn.execute("SELECT event->>'action' FROM pgaudit.audit_jobs").fetchall() == [("audit.restored",)]
    assert "Assurance: signed." in altered.session(recipe(PAGE, "# all of the log"))
