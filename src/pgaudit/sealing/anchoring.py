"""Sends the newest checkpoint to each anchor that lags behind, to all of them at once.

An anchor that fails is tried again later, each by its own clock. None holds up another, and no transaction is open
while one is waited for.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock, Thread
from traceback import extract_tb
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row, tuple_row

from pgaudit._driver import fetch
from pgaudit.errors import AnchorFailed, InvalidNote, PgauditError
from pgaudit.sealing import stored_tree, tree
from pgaudit.sealing.anchors.anchor import Anchor, Proof, ReadableAnchor, Receipt, VouchingAnchor, size_of
from pgaudit.sealing.notes import Note, Signature, merged

Connection = psycopg.Connection[Any]

PATIENCE: Final = 30.0  # seconds that a round waits for anchors, together
LEASE: Final = timedelta(minutes=2)  # in which no other process sends; longer than a round
LONGEST_ERROR: Final = 500  # characters
CLAIM: Final = "SELECT name, size FROM pgaudit.claim_anchors(%(names)s, %(at)s, %(lease)s)"
NEWEST: Final = "SELECT note FROM pgaudit.checkpoint ORDER BY size DESC LIMIT 1"
NOTE_ANCHORED: Final = "SELECT pgaudit.note_anchored(%(name)s, %(size)s, %(at)s, %(receipt)s)"
NOTE_FAILURE: Final = "SELECT pgaudit.note_anchor_failure(%(name)s, %(at)s, %(error)s)"
# Processes that add signatures to a note wait for each other, so that none is lost.
STORED: Final = "SELECT pgaudit.lock_checkpoint(%(size)s)"
ADD: Final = "SELECT pgaudit.add_checkpoint(%(size)s, %(note)s)"
RECEIPTS: Final = """
    SELECT size, coalesce(note, ''), receipt FROM pgaudit.anchor_receipt LEFT JOIN pgaudit.checkpoint USING (size)
     WHERE name = %(name)s AND size > %(size)s ORDER BY size LIMIT 500
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of sending a checkpoint of that size to an anchor; without an error, it took it."""

    name: str
    size: int
    error: str | None


def anchor(conn: Connection, anchors: Sequence[Anchor], now: datetime) -> list[Result]:
    """Sends the newest checkpoint to each anchor that does not have it, unless it failed a short time ago.

    :param conn: a connection on which no transaction is open.
    :returns: a result for each anchor that it was sent to.
    """
    lasts = claimed(conn, [each.name for each in anchors], now) if anchors else {}
    if not lasts:
        return []
    with conn.transaction():
        note = Note.parse(*fetch(conn, scalar_row, NEWEST))
    proofs = Proofs(conn, size_of(note))
    attempts = [Attempt(each, note, proofs.proof, lasts[each.name]) for each in anchors if each.name in lasts]
    wait_for(attempts, PATIENCE)
    proofs.close()
    return [stored(conn, attempt, size_of(note), now) for attempt in attempts]


def claimed(conn: Connection, names: list[str], now: datetime) -> dict[str, int]:
    """Returns the anchors that are due, each with the size of the last checkpoint that it took."""
    with conn.transaction():
        return dict(fetch(conn, tuple_row, CLAIM, {"names": names, "at": now, "lease": LEASE}))


class Proofs:
    """Consistency proofs of the tree, for several threads. After its round none of them reads from the database."""

    def __init__(self, conn: Connection, size: int) -> None:
        self._conn = conn
        self._size = size
        self._lock = Lock()
        self._closed = False

    def proof(self, old: int) -> list[bytes]:
        """Returns the proof that the tree begins with its first ``old`` leaves.

        :raises AnchorFailed: the round is over.
        :raises LogDamaged: rows or tiles are missing.
        """
        with self._lock:
            if self._closed:
                raise AnchorFailed("the proof was asked for too late")
            with self._conn.transaction():
                return tree.consistency_proof(old, self._size, stored_tree.tree_of(self._conn, self._size).node)

    def close(self) -> None:
        """Ends the use of the connection; waits for the proof that is being made."""
        with self._lock:
            self._closed = True


class Attempt:
    """Sends a checkpoint to an anchor, in a thread of its own. An error ends in ``error``, whatever it is."""

    def __init__(self, to: Anchor, note: Note, proof: Proof, last: int) -> None:
        self.name = to.name
        self.receipt: Receipt | None = None
        self.error: str | None = f"it did not answer within {PATIENCE:.0f} s"
        self.thread = Thread(target=self.run, args=(to, note, proof, last), name=f"anchor {to.name}", daemon=True)
        self.thread.start()

    def run(self, to: Anchor, note: Note, proof: Proof, last: int) -> None:
        """Sends the checkpoint. Only pgaudit's errors are quoted: another one could contain a secret."""
        try:
            self.receipt = to.submit(note, proof, last)
            self.error = None
        except PgauditError as error:
            self.error = str(error)
        except Exception as error:  # noqa: BLE001 - no answer of an anchor may end the round of the others
            place = extract_tb(error.__traceback__)[-1]
            self.error = f"{type(error).__name__} at {place.filename}:{place.lineno}"


def wait_for(attempts: Iterable[Attempt], seconds: float) -> None:
    """Waits until all have ended, at most that long together."""
    end = time.monotonic() + seconds
    for attempt in attempts:
        attempt.thread.join(max(0.0, end - time.monotonic()))


def stored(conn: Connection, attempt: Attempt, size: int, now: datetime) -> Result:
    """Stores what came of an attempt, and returns it."""
    error, receipt = attempt.error, attempt.receipt
    given: dict[str, object] = {"name": attempt.name, "size": size, "at": now}
    with conn.transaction():
        if error is None:
            fetch(conn, tuple_row, NOTE_ANCHORED, given | {"receipt": receipt.text if receipt else None})
            add_cosignatures(conn, size, receipt.cosignatures if receipt else ())
        else:
            error = printable(error)
            fetch(conn, tuple_row, NOTE_FAILURE, given | {"error": error})
            logger.warning("The anchor %s has no checkpoint of %s events: %s", attempt.name, f"{size:,}", error)
    return Result(attempt.name, size, error)


def printable(error: str) -> str:
    """Returns the message as one line that Postgres can store."""
    line = "".join(character if character.isprintable() else " " for character in error)
    return line[:LONGEST_ERROR]


def add_cosignatures(conn: Connection, size: int, signatures: Sequence[Signature]) -> None:
    """Adds signatures of witnesses to the stored note."""
    if not signatures:
        return
    (note,) = fetch(conn, scalar_row, STORED, {"size": size})
    fetch(conn, tuple_row, ADD, {"size": size, "note": str(merged(Note.parse(note), signatures))})


def kept(conn: Connection, by: Anchor) -> Iterator[Note]:
    """Yields the checkpoints that an anchor has, or that its stored receipts vouch for, to be compared with the log.

    :raises AnchorFailed: it cannot be read.
    :raises InvalidNote: what it has is no checkpoint, or a receipt is not for the stored checkpoint of its size.
    """
    if isinstance(by, ReadableAnchor):
        try:
            yield from by.read()
        except AnchorFailed as error:
            raise AnchorFailed(f"the anchor {by.name} cannot be read: {error}") from None
    if isinstance(by, VouchingAnchor):
        yield from vouched(conn, by)


def vouched(conn: Connection, by: VouchingAnchor) -> Iterator[Note]:
    """Yields the stored checkpoints that the receipts of an anchor are for, from the smallest on."""
    size = 0
    while rows := fetch(conn, tuple_row, RECEIPTS, {"name": by.name, "size": size}):
        for size, note, receipt in rows:
            try:
                checkpoint = Note.parse(note)
                by.check(checkpoint, receipt)
            except (AnchorFailed, InvalidNote) as error:
                raise InvalidNote(
                    f"{by.name} vouches for a checkpoint of {size:,} events, which is not the stored one: {error}"
                ) from None
            yield checkpoint
