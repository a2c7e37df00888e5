"""Tables of the mapped classes in a database of the test, and what was recorded there."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.sqlalchemy import classes, track
from pgaudit.testing.database import url_of
from pgaudit.testing.trail import events_of
from tests.sqlalchemy.models import Base, Claim, Person, Price

Recorded = Callable[[], list[AuditEvent]]


@pytest.fixture
def engine(dsn: str) -> Iterator[Engine]:
    """An engine of psycopg, and the tables."""
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def audit(settings: Settings) -> Iterator[AuditLog]:
    """Tracks claims, with their e-mail addresses masked, people and prices, during the test."""
    audit = AuditLog(settings)
    track(audit, Claim, target="claim", mask=["email"])
    track(audit, Person, target="person")
    track(audit, Price, target="price")
    yield audit
    classes.tracked.clear()


@pytest.fixture
def session(engine: Engine, audit: AuditLog) -> Iterator[Session]:
    """A session in which claims are tracked."""
    assert audit
    with Session(engine) as session:
        yield session


@pytest.fixture
def recorded(engine: Engine) -> Recorded:
    """Returns the events that are committed, in their order, without those about capture."""

    def recorded() -> list[AuditEvent]:
        with engine.connect() as conn:
            return [event for event in events_of(conn) if not event.action.startswith("audit.")]

    return recorded


def sides(event: AuditEvent) -> dict[str, dict[str, object]]:
    """Returns the changes of an event by their paths."""
    return {
        change.path: {side: value for side, value in change.model_dump().items() if side != "path"}
        for change in event.changes
    }


def capture(dsn: str, table: str) -> None:
    """Captures a table, as its owner does."""
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT pgaudit.add_capture(%s::regclass, %s, '{id}')", [table, table.rstrip("s")])


def actions(recorded: Recorded) -> list[str]:
    """Returns action and target of each event."""
    return [f"{entry.action} {entry.targets[0]}" for entry in recorded()]
