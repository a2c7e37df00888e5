"""Sealing: tiles and checkpoints of a log that grows, by one process at a time, and never of another log."""

from pathlib import Path

import psycopg
import pytest

from pgaudit.errors import RolledBack
from pgaudit.sealing import stored_tree, tree
from pgaudit.sealing.keys import HighWaterMark, new_keys
from pgaudit.sealing.notes import Checkpoint, Note
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.signing import signers
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import Connection, value


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """A signer with a new key, which has not signed anything."""
    return Signer(new_keys("audit.example.com/claims"), HighWaterMark(tmp_path / "mark"))


def append(conn: Connection, count: int) -> None:
    """Appends events to the log."""
    for start in range(0, count, 500):
        record_persist_and_commit(conn, *events(min(500, count - start)))


def hashes(conn: Connection) -> list[bytes]:
    """The leaf hashes of the log, computed here from the stored text."""
    rows = conn.execute("SELECT event::text FROM pgaudit.audit_log ORDER BY index").fetchall()
    return [tree.leaf_hash(text.encode()) for (text,) in rows]


def root_of(leaves: list[bytes]) -> bytes:
    """The root by the definition of RFC 6962."""
    if len(leaves) == 1:
        return leaves[0]
    middle = tree.split(len(leaves))
    return tree.node_hash(root_of(leaves[:middle]), root_of(leaves[middle:]))


def test_checkpoints_follow_a_growing_log(conn: Connection, signer: Signer) -> None:
    """Each is signed over the root by the definition; a log that has not grown gets none."""
    assert seal(conn, signer) is None
    for count in (1, 299, 700):
        append(conn, count)
        note = seal(conn, signer)
        assert note is not None
        leaves = hashes(conn)
        assert Checkpoint.parse(note.text) == Checkpoint(signer.origin, len(leaves), root_of(leaves))
        assert signers(note, [key.verifier for key in signer.keys]) == [signer.keys[0].verifier]
        assert seal(conn, signer) is None
    stored = conn.execute("SELECT size, note FROM pgaudit.checkpoint ORDER BY size").fetchall()
    assert [size for size, _ in stored] == [1, 300, 1_000]
    assert [Checkpoint.parse(Note.parse(note).text).size for _, note in stored] == [1, 300, 1_000]
    assert stored_tree.complete_tiles(conn, 0) == 3


def test_without_a_key_there_are_tiles(conn: Connection) -> None:
    """A worker without a key builds the tree."""
    append(conn, 256)
    assert seal(conn, None) is None
    assert value(conn, "SELECT count(*) FROM pgaudit.tile") == 1
    assert value(conn, "SELECT count(*) FROM pgaudit.checkpoint") == 0


def test_while_one_process_seals_another_does_not(conn: Connection, dsn: str, signer: Signer) -> None:
    """It goes on with its work, and seals at its next turn."""
    append(conn, 1)
    with psycopg.connect(dsn) as other:
        assert other.execute("SELECT pgaudit.try_lock_sealing()").fetchone() == (True,)
        assert seal(conn, signer) is None
    assert seal(conn, signer) is not None


def test_a_log_that_lost_events_is_not_signed(conn: Connection, signer: Signer) -> None:
    """As after the restore of an older copy, while the signer lives."""
    append(conn, 5)
    signer.mark.advance(Checkpoint(signer.origin, 6, bytes(32)))
    with pytest.raises(RolledBack, match=r"has 5 events, and a checkpoint of 6 was signed"):
        seal(conn, signer)
    assert value(conn, "SELECT count(*) FROM pgaudit.checkpoint") == 0


def test_another_log_is_not_signed(conn: Connection, signer: Signer) -> None:
    """As after events were altered, or on a copy that took another course."""
    append(conn, 5)
    signer.mark.advance(Checkpoint(signer.origin, 3, bytes(32)))
    with pytest.raises(RolledBack, match=r"first 3 events of the log are not those that were signed"):
        seal(conn, signer)
    assert value(conn, "SELECT count(*) FROM pgaudit.checkpoint") == 0
