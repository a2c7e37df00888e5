"""A log of several days, sealed at chosen sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditEvent, Settings
from pgaudit.sealing.completeness import Completeness, close_periods, prove
from pgaudit.sealing.keys import HighWaterMark, new_keys
from pgaudit.sealing.notes import Checkpoint, Note
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from tests.support.jobs import persist_and_commit, record_persist_and_commit
from tests.support.tampering import tamper

MONDAY = date(2026, 11, 23)


@dataclass(frozen=True)
class Log:
    """A log whose days a test decides."""

    conn: psycopg.Connection
    signer: Signer

    def append(self, *targets: str | Sequence[str]) -> None:
        """Appends an event for each argument, which is a target or several."""
        record_persist_and_commit(self.conn, *map(event, targets))

    def seal_on(self, day: date) -> None:
        """Signs the log, as on a day."""
        assert seal(self.conn, self.signer) is not None
        newest = "size = (SELECT max(size) FROM pgaudit.checkpoint)"
        tamper(self.conn, f"UPDATE pgaudit.checkpoint SET signed_at = '{day} 00:00:05Z' WHERE {newest}")

    def close(self, today: date) -> list[str]:
        """Closes the days before today, and signs the events that say so; returns the days."""
        now = datetime(today.year, today.month, today.day, 0, 1, tzinfo=UTC)
        closed = close_periods(self.conn, Settings(), now)
        if closed:
            persist_and_commit(self.conn)
            self.seal_on(today)
        return closed

    def day(self, day: date, *targets: str | Sequence[str]) -> list[str]:
        """Appends the events of a day, and closes it on the next one."""
        self.append(*targets)
        if day == MONDAY:
            self.seal_on(day)
            self.append("pulse:0")
        self.seal_on(day + timedelta(days=1))
        return self.close(day + timedelta(days=1))

    @property
    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint."""
        ((note,),) = self.conn.execute("SELECT note FROM pgaudit.checkpoint ORDER BY size DESC LIMIT 1").fetchall()
        return Checkpoint.parse(Note.parse(note).text)

    def prove(self, target: str) -> Completeness:
        """The proof for a target."""
        return prove(self.conn, target)

    def texts(self, *indexes: int) -> list[tuple[int, str]]:
        """Index and exact text of events."""
        query = "SELECT index, event::text FROM pgaudit.audit_log WHERE index = ANY (%s) ORDER BY index"
        return self.conn.execute(query, [list(indexes)]).fetchall()


def event(targets: str | Sequence[str]) -> AuditEvent:
    """An event about one target or several."""
    return AuditEvent(action="claim.changed", targets=[targets] if isinstance(targets, str) else list(targets))


@pytest.fixture
def log(conn: psycopg.Connection, tmp_path: Path) -> Log:
    """An empty log."""
    return Log(conn, Signer(new_keys("audit.example.com/claims"), HighWaterMark(tmp_path / "mark")))


@pytest.fixture
def three_days(log: Log) -> Log:
    """Three days: claim:7 on the first, also as a further target, and on the third; many other claims."""
    others = [f"claim:{number}" for number in range(100, 700)]
    log.day(MONDAY, "claim:7", *others, ["policy:3", "claim:7"], "claim:8")
    log.day(MONDAY + timedelta(days=1), "claim:8", "claim:9")
    log.day(MONDAY + timedelta(days=2), "claim:7", "claim:7")
    return log
