"""A log of so many events that its tree has tiles of two levels."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from pgaudit.sealing import tree
from pgaudit.sealing.keys import HighWaterMark, new_keys
from pgaudit.sealing.notes import Checkpoint
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.sealing.attacks.sealed import Found, Sealed
from tests.support.tampering import tamper, unguarded

TILE = 256
SIZE = TILE * TILE + 2 * TILE + 10
FILL = f"""
    INSERT INTO pgaudit.audit_log (index, event_id, occurred_at, recorded_at, persisted_at, action, outcome, event,
                                   leaf_hash)
    SELECT n, id, now(), now(), now(), 'claim.approved', 'success', event, pgaudit.leaf_hash(event)
      FROM (SELECT n, id, jsonb_build_object('id', id, 'action', 'claim.approved', 'outcome', 'success',
                                             'occurred_at', now(), 'recorded_at', now()) AS event
              FROM (SELECT n, gen_random_uuid() AS id FROM generate_series(0, {SIZE} - 1) n OFFSET 0) given) made;
    INSERT INTO pgaudit.batch (first_index, count, persisted_at, oldest_recorded, newest_recorded, recorded_until, late)
    VALUES (0, {SIZE}, now(), now(), now(), now(), false)
"""
ZEROED = "hashes = overlay(hashes placing decode(repeat('00', 32), 'hex') from {})"
# The level-1 tile has the roots of 256 tiles of leaves, and is complete with the last of them.
COMPLETE = ("altered", (TILE - 1) * TILE)
KEPT = "SELECT string_agg(leaf_hash, '' ORDER BY index) FROM pgaudit.audit_log"


@pytest.fixture(scope="module")
def large(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    """A log that is signed once, as a whole."""
    signer = Signer(new_keys("audit.example.com/claims"), HighWaterMark(tmp_path_factory.mktemp("signer") / "mark"))
    with fresh_database(server) as database, psycopg.connect(database.dsn, autocommit=True) as conn:
        tamper(conn, *FILL.split(";"))
        assert seal(conn, signer) is not None
        yield Sealed(conn, signer)


def found(log: Sealed, change: str) -> Found:
    """What is found after a change by the owner, which is then rolled back."""
    with log.conn.transaction(force_rollback=True):
        with unguarded(log.conn):
            assert log.conn.execute(sql.SQL(change)).rowcount == 1
        return log.found()


def test_the_checkpoint_is_that_of_the_definition(large: Sealed) -> None:
    """The root that was signed is that of the plain list of leaves, and the log verifies, from any tile on."""
    (hashes,) = large.conn.execute(KEPT).fetchone() or (b"",)
    leaves = [hashes[start : start + 32] for start in range(0, len(hashes), 32)]
    assert Checkpoint.parse(large.newest.text) == Checkpoint(large.signer.origin, SIZE, tree.list_root(leaves))
    for first in (0, TILE, TILE * TILE, TILE * TILE + TILE):
        result = large.verify(first=first)
        assert (result.findings, result.checkpoints) == ([], 1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (f"UPDATE pgaudit.tile SET {ZEROED.format(33)} WHERE level = 1", [COMPLETE]),
        ("DELETE FROM pgaudit.tile WHERE level = 1", [COMPLETE]),
        ("UPDATE pgaudit.tile SET root = sha256('') WHERE level = 0 AND number = 256", [("altered", TILE * TILE)]),
        ("UPDATE pgaudit.tile SET root = sha256('') WHERE level = 1", [COMPLETE]),
    ],
    ids=["a hash", "a whole tile", "the root of a tile of leaves", "the root of a tile of roots"],
)
def test_a_change_in_the_tree(large: Sealed, change: str, expected: Found) -> None:
    """Each level is compared with the one below it."""
    assert found(large, change) == expected
