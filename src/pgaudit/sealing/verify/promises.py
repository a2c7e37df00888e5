"""What the log was said to be: checkpoints of the database, of anchors, and of the signer itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from pgaudit._driver import fetch
from pgaudit.errors import InvalidNote
from pgaudit.sealing.levels import Level
from pgaudit.sealing.notes import COSIGNATURE, MLDSA44, Checkpoint, Note, VerifierKey
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.signing import signers
from pgaudit.sealing.verify.findings import Finding

DATABASE: Final = "the database"
STORED: Final = """
    SELECT size, note FROM pgaudit.checkpoint WHERE size > %(first)s AND size <= %(end)s ORDER BY size
"""


@dataclass(frozen=True, slots=True)
class Promise:
    """A checkpoint that the log has to match, where it comes from, and the level that it reaches if it does."""

    checkpoint: Checkpoint
    source: str
    level: Level

    @property
    def is_foreign(self) -> bool:
        """Whether it was kept outside the database."""
        return self.source != DATABASE


@dataclass(frozen=True, slots=True)
class Trusted:
    """The keys that may sign, of the log and of witnesses; a policy says how many witnesses are enough.

    Without a policy, one witness is. Without keys, no signature is checked.
    """

    keys: Sequence[VerifierKey]
    policy: Policy | None = None

    def level(self, checkpoint: Checkpoint, valid: Sequence[VerifierKey], source: str) -> Level:
        """Returns the level that a checkpoint with these valid signatures reaches."""
        if not self.keys:
            return Level.SEALED
        cosigned = [key for key in valid if key.name != checkpoint.origin and key.kind in (COSIGNATURE, MLDSA44)]
        if cosigned and (self.policy is None or self.policy.is_reached(cosigned)):
            return Level.WITNESSED
        return Level.SIGNED if source == DATABASE else Level.ANCHORED


def stored(
    conn: psycopg.Connection[Any], trusted: Trusted, first: int, end: int
) -> tuple[list[Promise], list[Finding]]:
    """Returns the checkpoints of the database of sizes in ``(first, end]``, and those that no known key signed."""
    promises: list[Promise] = []
    findings: list[Finding] = []
    for size, note in fetch(conn, tuple_row, STORED, {"first": first, "end": end}):
        try:
            promises.append(promise_of(Note.parse(note), trusted, DATABASE, size))
        except InvalidNote as error:
            findings.append(Finding("unsigned", f"the checkpoint of {size:,} events is not valid: {error}", size))
    return promises, findings


def anchored(notes: Iterable[Note], trusted: Trusted, anchor: str) -> tuple[list[Promise], list[Finding]]:
    """Returns the checkpoints of an anchor, and those that no known key has signed."""
    promises: list[Promise] = []
    findings: list[Finding] = []
    try:
        for note in notes:
            try:
                promises.append(promise_of(note, trusted, anchor))
            except InvalidNote as error:
                findings.append(Finding("unsigned", f"a checkpoint of {anchor} is not valid: {error}"))
    except InvalidNote as error:  # what the anchor has cannot be read any further
        findings.append(Finding("unsigned", str(error)))
    return promises, findings


def promise_of(note: Note, trusted: Trusted, source: str, size: int | None = None) -> Promise:
    """Returns what a note promises.

    :param size: the size that it is stored with.
    :raises InvalidNote: it is no checkpoint, or none of that size, or none of the keys has signed it.
    """
    checkpoint = Checkpoint.parse(note.text)
    if size not in (None, checkpoint.size):
        raise InvalidNote(f"it is about {checkpoint.size:,} events")
    valid = signers(note, trusted.keys)
    if trusted.keys and not any(key.name == checkpoint.origin for key in valid):
        raise InvalidNote(f"none of the known keys of {checkpoint.origin} has signed it")
    return Promise(checkpoint, source, trusted.level(checkpoint, valid, source))


def broken(promise: Promise, root: bytes | None, last_kept: int) -> Finding | None:
    """Returns the finding of a promise that the log does not keep; ``root`` is that of the log at this size.

    :param last_kept: the size of the last promise of the same source that was kept.
    """
    size = promise.checkpoint.size
    if root == promise.checkpoint.root:
        return None
    if promise.is_foreign:
        message = f"the first {size:,} events are not those of the checkpoint that {promise.source} has"
        return Finding("forked", message, last_kept)
    which = (
        f"event {last_kept:,} is" if size - last_kept == 1 else f"some of the events {last_kept:,} to {size - 1:,} are"
    )
    return Finding("altered", f"{which} not what was signed in the checkpoint of {size:,} events", last_kept)


def beyond(promise: Promise, size: int) -> Finding:
    """Returns the finding of a promise about more events than the log has."""
    message = f"the log has {size:,} events, and {promise.source} has a checkpoint of {promise.checkpoint.size:,}"
    return Finding("rolled_back" if promise.is_foreign else "truncated", message, size)
