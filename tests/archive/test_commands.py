"""``pgaudit archive`` as a person or a script runs it; where databases are, and their passwords."""

import json
import subprocess
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgaudit.archive.conninfo import conninfo_at, source_of
from pgaudit.errors import ArchiveRefused
from tests.archive.conftest import Pair
from tests.support.command_line import run_anew
from tests.support.tampering import tamper
from tests.support.waiting import wait_until


def test_setup_and_check(pair: Pair) -> None:
    """The archive is set up, checked, and set up again; then what was altered is named, with exit code 1."""
    given = {"PGAUDIT_DSN": pair.source, "PGAUDIT_ARCHIVE_DSN": pair.place}
    made = run_anew("archive", "setup", "--to", "env:PGAUDIT_ARCHIVE_DSN", **given)
    assert (made.returncode, made.stdout) == (0, "The archive pgaudit_archive follows.\n")
    assert "alembic" not in made.stderr
    assert "superuser" not in made.stderr
    again = run_anew("archive", "setup", "--to", "env:PGAUDIT_ARCHIVE_DSN", "--json", **given)
    assert json.loads(again.stdout) == {
        "name": "pgaudit_archive", "was_there": True, "copying": [], "keeps": 512 * 1024 * 1024
    }  # fmt: skip
    checked = run_anew("archive", "check", "--to", "env:PGAUDIT_ARCHIVE_DSN", **given)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.endswith("The archive follows the primary, and both have the same events.\n")
    tamper(pair.here, "UPDATE pgaudit.audit_log SET actor_id = 'x' WHERE index = 4")
    altered = run_anew("archive", "check", "--to", "env:PGAUDIT_ARCHIVE_DSN", "--all", "--json", **given)
    assert altered.returncode == 1
    report = json.loads(altered.stdout)
    assert (report["follows"], report["differences"]["altered"], report["lag"]) == (False, [4], 0)
    assert [finding["name"] for finding in report["findings"]] == ["altered"]


def test_dead_archive(pair: Pair) -> None:
    """An archive that does not answer is a finding, with what the primary keeps for it: exit code 1."""
    pair.setup()
    pair.there.close()
    pair.archive_server.halt()
    try:
        wait_until("it is noticed", lambda: "slot_inactive" in check(pair, pair.place).stdout)
        checked = check(pair, pair.place)
    finally:
        pair.archive_server.start()
        pair.reconnect()
    assert checked.returncode == 1
    assert checked.stdout.count("the archive does not answer: ") == 1


def check(pair: Pair, to: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Returns what the check prints."""
    return run_anew("archive", "check", "--to", to, **({"PGAUDIT_DSN": pair.source} | variables))


def test_primary_does_not_answer(pair: Pair) -> None:
    """Then nothing can be said: exit code 3."""
    assert check(pair, pair.place, PGAUDIT_DSN="host=/nowhere").returncode == 3


def test_password_is_printed_nowhere(pair: Pair) -> None:
    """Not if it is given where others see it, and not if the archive refuses it."""
    with_password = f"{pair.place} user=nobody_there password=hunter2"
    refused = check(pair, with_password)
    unknown = check(pair, "env:PGAUDIT_ARCHIVE_DSN", PGAUDIT_ARCHIVE_DSN=with_password)
    for said in (refused, unknown):
        assert said.returncode == 1
        assert "hunter2" not in said.stdout + said.stderr
    assert "password would be seen by others" in refused.stderr


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place comes from a variable, a file, or is written without a password."""
    file = tmp_path / "dsn"
    file.write_text("postgresql://audit:hunter2@archive/claims\n")
    monkeypatch.setenv("ARCHIVE", "host=archive password=hunter2")
    assert conninfo_at("env:ARCHIVE") == "host=archive password=hunter2"
    assert conninfo_at(f"file:{file}") == "postgresql://audit:hunter2@archive/claims"
    assert conninfo_at("service=archive") == "service=archive"
    for wrong in ("env:NOT_SET", "file:/nowhere", "postgresql://audit:hunter2@archive/claims", "no conninfo hunter2"):
        with pytest.raises(ArchiveRefused) as caught:
            conninfo_at(wrong)
        assert "hunter2" not in str(caught.value)


def test_source_has_no_password() -> None:
    """The archive's server connects to the primary as we do, but for the password."""
    found = conninfo_to_dict(source_of("postgresql://audit:hunter2@primary:5433/claims?sslmode=require"))
    assert found == {"user": "audit", "host": "primary", "port": "5433", "dbname": "claims", "sslmode": "require"}
