"""An older copy of the database takes the place of the signed one, and the log goes on as the page says."""

import json
from pathlib import Path

import pytest

from pgaudit.errors import RolledBack
from pgaudit.sealing.keys import create, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.settings import Settings
from pgaudit.testing import run_worker_once
from tests.docs.printed import ROOT, recipe, statements
from tests.docs.recipes.site import Site
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import value_in

PAGE = "operate/after-a-restore.md"
NAMES = "SELECT array_agg(split_part(note, E'\\n', 1) ORDER BY size) FROM pgaudit.checkpoint"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with the key of the log."""
    path = tmp_path / "claims.key"
    create(path, new_keys("audit.example.com/claims"))
    return path


@pytest.fixture
def signer(key: Path) -> Signer:
    """The signer with that key."""
    signer = Signer.of(Settings(signing_key=str(key)))
    assert signer
    return signer


@pytest.fixture
def restored(site: Site, signer: Signer) -> Site:
    """The database is a backup of 3 events; 5 were signed. The newest copy is ``claims_newer``."""
    with site.connect() as conn:
        record_persist_and_commit(conn, *events(3))
        seal(conn, signer)
    with site.connect(database="postgres") as superuser:
        superuser.execute("CREATE DATABASE claims_backup TEMPLATE claims")
        with site.connect() as conn:
            record_persist_and_commit(conn, *events(2))
            seal(conn, signer)
        superuser.execute("ALTER DATABASE claims RENAME TO claims_newer")
        superuser.execute("ALTER DATABASE claims_backup RENAME TO claims")
    with site.connect() as conn, pytest.raises(RolledBack):
        seal(conn, signer)
    return site


def test_health_says_what_the_page_quotes(restored: Site) -> None:
    """The message of the check is that of the page, without its last words."""
    (check,) = (
        each
        for each in json.loads(restored.attempt("pgaudit health --json", "claims_dba").stdout)["checks"]
        if each["name"] == "sealing"
    )
    quoted = " ".join(line.removeprefix("> ") for line in page().splitlines() if line.startswith("> "))
    assert (check["status"], check["message"].partition("; see ")[0]) == ("unhealthy", quoted)


def page() -> str:
    """The text of the page."""
    return (ROOT / "docs" / PAGE).read_text()


def test_what_is_missing_is_counted(restored: Site) -> None:
    """5 events were signed; this copy has 3, and knows a checkpoint of 3."""
    assert restored.session(recipe(PAGE, "sed -n 2p")).split() == ["5", "3", "3"]


def test_a_newer_copy_is_signed_without_further_steps(restored: Site, signer: Signer) -> None:
    """After the newer copy is back, the next event is signed."""
    with restored.connect(database="postgres") as superuser:
        superuser.execute("ALTER DATABASE claims RENAME TO claims_older")
        superuser.execute("ALTER DATABASE claims_newer RENAME TO claims")
    with restored.connect() as conn:
        record_persist_and_commit(conn, *events(1))
        assert seal(conn, signer)


def test_the_log_goes_on_under_a_new_name(restored: Site) -> None:
    """The event that says so is in the first checkpoint of the new name; checkpoints of both names verify."""
    restored.session(recipe(PAGE, "keys new"))
    (record,) = statements(recipe(PAGE, "pgaudit.record("))
    with restored.connect("claims_app") as application:
        application.execute(record.encode())
    printed = restored.session(recipe(PAGE, "PGAUDIT_SIGNING_KEY"))
    assert "Assurance: signed." in printed
    assert value_in(restored.dsn(), NAMES)[:2] == ["audit.example.com/claims", "audit.example.com/claims/2"]
    with restored.connect() as conn:
        assert run_worker_once(conn) == 0
    actions = "SELECT array_agg(action ORDER BY index) FROM pgaudit.audit_log WHERE index >= 3"
    assert "audit.log_continued" in value_in(restored.dsn(), actions)
    assert "audit.example.com/claims\n3\n" in (restored.directory / "evidence/checkpoints.txt").read_text()
