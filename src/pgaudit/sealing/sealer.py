"""Seals the log: extends its tree, and signs a checkpoint of it, in one worker at a time."""

from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import scalar_row, tuple_row

from pgaudit._driver import fetch
from pgaudit.errors import InvalidKey, LogDamaged, RolledBack
from pgaudit.sealing import stored_tree
from pgaudit.sealing.notes import Note

if TYPE_CHECKING:  # a process without a key needs no cryptography
    from pgaudit.sealing.signer import Signer

LOCK: Final = "SELECT pgaudit.try_lock_sealing()"
LAST: Final = "SELECT coalesce((SELECT max(size) FROM pgaudit.checkpoint), 0)"
FAILED: Final = "SELECT found->0->>'message' FROM pgaudit.failed_verifications ORDER BY id DESC LIMIT 1"
NOTE: Final = "SELECT pgaudit.note_sealing(%(refused)s)"
ADD: Final = "SELECT pgaudit.add_checkpoint(%(size)s, %(note)s)"


def seal(conn: psycopg.Connection[Any], signer: "Signer | None") -> Note | None:
    """Extends the tree over all events of the log, in short transactions, and signs it if it has grown.

    :returns: the new checkpoint; None if another process seals, nothing is new, or there is no signer.
    :raises LogDamaged: rows or tiles are missing, or the last verification of the log has failed.
    :raises RolledBack: the log is not the one that was signed before.
    """
    try:
        return _seal(conn, signer)
    except (InvalidKey, LogDamaged, RolledBack) as error:
        if signer:
            note_refusal(conn, str(error))
        raise


def note_refusal(conn: psycopg.Connection[Any], refused: str | None) -> None:
    """Notes for health why the log is not signed; None if it is. Only a process that should sign can say."""
    fetch(conn, tuple_row, NOTE, {"refused": refused})


def _seal(conn: psycopg.Connection[Any], signer: "Signer | None") -> Note | None:
    while True:
        with conn.transaction():
            if not holds_lock(conn):
                return None
            size = stored_tree.extend(conn)
            if size is not None:
                if signer is None:
                    return None
                checkpoint = signed(conn, signer, size)
                note_refusal(conn, None)
                return checkpoint


def holds_lock(conn: psycopg.Connection[Any]) -> bool:
    """Returns whether this transaction may seal."""
    return fetch(conn, scalar_row, LOCK) == [True]


def signed(conn: psycopg.Connection[Any], signer: "Signer", size: int) -> Note | None:
    """Stores a checkpoint of the log and returns it; None if the last one is of the same size, or the log is empty.

    :raises LogDamaged: the last verification has failed.
    :raises RolledBack: the log is not the one that was signed before.
    """
    for found in fetch(conn, scalar_row, FAILED):
        raise LogDamaged(f"the last verification has failed: {found}; nothing is signed until one succeeds")
    tiled = stored_tree.tree_of(conn, size)
    (last,) = fetch(conn, scalar_row, LAST)
    if size < last:
        raise RolledBack(
            f"the log has {size:,} events, and a checkpoint of {last:,} is stored: events were removed; "
            "see docs/operate/after-tampering.md"
        )
    if size in (0, last):
        signer.check(tiled)
        return None
    note = signer.sign(tiled)
    fetch(conn, tuple_row, ADD, {"size": size, "note": str(note)})
    return note
