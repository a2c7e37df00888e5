"""A sealed log, and what a verification finds in it."""

from dataclasses import dataclass

import psycopg

from pgaudit.sealing.notes import Note
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.verify import Verification, verify

SIZE = 1_100  # four complete tiles, and 76 events behind them
OWNER, SUPERUSER = "a_owner", "postgres"
Found = list[tuple[str, int | None]]  # names and places of findings
NOTES = "SELECT note FROM pgaudit.checkpoint ORDER BY size"


@dataclass(frozen=True)
class Sealed:
    """A session in the database of a log, and the signer of the log."""

    conn: psycopg.Connection
    signer: Signer

    def verify(self, *anchored: Note, first: int = 0) -> Verification:
        """Verifies the log with its public keys, and with an anchor that has these checkpoints."""
        anchors = {"file:/anchors": list(anchored)} if anchored else None
        return verify(self.conn, keys=[key.verifier for key in self.signer.keys], anchors=anchors, first=first)

    def found(self, *anchored: Note) -> Found:
        """Names and places of what a verification finds."""
        return [(finding.name, finding.index) for finding in self.verify(*anchored).findings]

    @property
    def checkpoints(self) -> list[Note]:
        """The checkpoints, as an anchor has them, the oldest first."""
        return [Note.parse(note) for (note,) in self.conn.execute(NOTES).fetchall()]

    @property
    def newest(self) -> Note:
        """The newest checkpoint."""
        return self.checkpoints[-1]
