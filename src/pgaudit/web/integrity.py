"""Whether the log is what was recorded: how far it is signed, verified and anchored, and each event in it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from psycopg.rows import tuple_row

from pgaudit import stats
from pgaudit._driver import fetch
from pgaudit.errors import InvalidNote
from pgaudit.sealing.levels import Level
from pgaudit.sealing.notes import Checkpoint, Note, Signature
from pgaudit.sealing.tiles import WIDTH
from pgaudit.sealing.tree import HASH_SIZE
from pgaudit.stats import AnchorStats, SealingStats
from pgaudit.web.views import Connection

RUNBOOK: Final = "docs/operate/after-tampering.md"
NEWEST: Final = "SELECT size, signed_at, note FROM pgaudit.checkpoint ORDER BY size DESC LIMIT 1"
SEALED: Final = """
    SELECT size, signed_at,
           (SELECT substr(hashes, %(place)s, %(bytes)s) FROM pgaudit.tile WHERE level = 0 AND number = %(tile)s)
      FROM pgaudit.checkpoint WHERE size > %(index)s ORDER BY size LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class SignedBy:
    """A key that has signed a checkpoint: its name, and the first four bytes of its hash."""

    name: str
    key_id: str
    is_witness: bool


@dataclass(frozen=True, slots=True)
class NewestCheckpoint:
    """The newest checkpoint. ``fault`` says why its note cannot be read; then the log is without name and root."""

    size: int
    signed_at: datetime
    note: str
    origin: str | None = None
    root: str | None = None
    keys: tuple[SignedBy, ...] = ()
    fault: str | None = None

    @classmethod
    def of(cls, size: int, signed_at: datetime, note: str) -> "NewestCheckpoint":
        """Returns the checkpoint of a stored note. Its signatures are not checked: that needs a public key."""
        try:
            parsed = Note.parse(note)
            checkpoint = Checkpoint.parse(parsed.text)
        except InvalidNote as error:
            return cls(size, signed_at, note, fault=str(error))
        keys = tuple(signed_by(signature, checkpoint.origin) for signature in parsed.signatures)
        return cls(size, signed_at, note, checkpoint.origin, checkpoint.root.hex(), keys)


@dataclass(frozen=True, slots=True)
class Integrity:
    """What the database says of its log. Administrators of the database can change that."""

    observed_at: datetime
    sealing: SealingStats
    checkpoint: NewestCheckpoint | None
    anchors: list[AnchorStats]

    @property
    def level(self) -> Level | None:
        """The level of assurance that the last verification of the whole log has reached; None while findings stand."""
        reached = None if self.sealing.failed_at else self.sealing.level
        return Level[reached.upper()] if reached else None


@dataclass(frozen=True, slots=True)
class Sealed:
    """The first checkpoint that covers an event, and the hash of the event in the tree; None until its tile is full."""

    size: int
    signed_at: datetime
    leaf: bytes | None


def look(conn: Connection) -> Integrity:
    """Returns what the database says of its log, in the caller's transaction."""
    (sealing,) = stats.sealing_stats(conn)
    newest = [NewestCheckpoint.of(*row) for row in fetch(conn, tuple_row, NEWEST)]
    return Integrity(datetime.now(UTC), sealing, newest[0] if newest else None, stats.anchor_stats(conn))


def sealed(conn: Connection, index: int) -> Sealed | None:
    """Returns how an event is sealed; None if no checkpoint covers it."""
    place: dict[str, object] = {
        "place": index % WIDTH * HASH_SIZE + 1,
        "bytes": HASH_SIZE,
        "tile": index // WIDTH,
        "index": index,
    }
    rows = fetch(conn, tuple_row, SEALED, place)
    return Sealed(*rows[0]) if rows else None


def signed_by(signature: Signature, origin: str) -> SignedBy:
    """Returns the key that a signature names; the keys of a log have its name."""
    return SignedBy(signature.name, signature.key_id.hex(), signature.name != origin)


def finding_about(conn: Connection, index: int) -> dict[str, Any] | None:
    """Returns the standing finding of a verification about an event; None if there is none."""
    (sealing,) = stats.sealing_stats(conn)
    return next((found for found in sealing.found or () if found.get("index") == index), None)
