"""Days that are said to be sealed, though no worker has closed them: refused, or told by the role that says so."""

from base64 import b64encode
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import AuditEvent, grants
from pgaudit.recording.audit_log import AuditLog
from pgaudit.sealing import tree
from pgaudit.sealing.completeness.complete import encoded
from pgaudit.sealing.packs import checking
from pgaudit.sealing.stored_tree import tree_of
from tests.sealing.completeness.conftest import MONDAY, Log
from tests.sealing.packs.complete.conftest import change
from tests.sealing.packs.conftest import export
from tests.sealing.packs.verifiers import assert_refused, assert_verified, by_program, describe
from tests.support.jobs import persist_and_commit
from tests.support.roles import temporary_roles

DATA = {"period": "2026-11-24", "first": 3, "end": 5, "targets": 0, "root": b64encode(sha256().digest()).decode()}


@pytest.fixture
def hiding(new_log: Log) -> Log:
    """A log with claim:7 on a day that is sealed, and at index 4 on the next one, which is said to have no targets."""
    new_log.day(MONDAY, "claim:7", "claim:8")
    new_log.append("claim:7")
    return new_log


def say_that_nothing_was_there(log: Log, recorder: psycopg.Connection, event: AuditEvent, path: Path) -> Path:
    """Records the event, and returns a pack that uses it in order to leave out the event 4."""
    with recorder.transaction():
        AuditLog().record(recorder, event)
    persist_and_commit(log.conn)
    log.seal_on(MONDAY + timedelta(days=1))
    pack = export(log.conn, path, "target:claim:7", complete=True)
    lines = (pack / "events.ndjson").read_bytes().splitlines(keepends=True)
    (pack / "events.ndjson").write_bytes(lines[0])
    (pack / "proofs/4.tlog-proof").unlink()
    describe(pack, indexes="0", count=1, last_index=0)
    ((index, text),) = log.texts(5)
    proof = encoded(tree.inclusion_proof(index, 6, tree_of(log.conn, 6).node))
    part = {"index": index, "event": text, "proof": proof, "left": None, "right": None}
    change(pack, lambda document: document["periods"].append(part))
    return pack


def test_a_day_that_an_application_says_it_has_sealed(hiding: Log, tmp_path: Path) -> None:
    """The database lets it record such an event with an actor at most, and with one it seals nothing."""
    event = AuditEvent(action="audit.targets_sealed", actor="user:42", target="claim:1", data=DATA)
    pack = say_that_nothing_was_there(hiding, hiding.conn, event, tmp_path / "pack")
    assert_refused(pack, r"completeness\.json: event 5 .*worker")


def test_a_day_that_another_worker_has_sealed_by_hand(hiding: Log, dsn: str, tmp_path: Path) -> None:
    """No proof can tell, so both verifiers name the roles: the reader asks what the second one is."""
    event = AuditEvent(action="audit.targets_sealed", data=DATA)
    with temporary_roles(dsn, "t_second_worker"):
        grants.grant(hiding.conn, worker="t_second_worker")
        hiding.conn.commit()
        with psycopg.connect(make_conninfo(dsn, user="t_second_worker")) as worker:
            pack = say_that_nothing_was_there(hiding, worker, event, tmp_path / "pack")
    assert_verified(pack)
    found = checking.check(pack).complete
    assert found is not None
    assert (found.end, found.indexes, found.sealed_by) == (5, [0], sorted([hiding.conn.info.user, "t_second_worker"]))
    assert "t_second_worker" in found.origin
    assert "'t_second_worker'" in by_program(pack)[1]
