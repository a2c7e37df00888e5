"""A log of varied events in small partitions, for tests that only read it."""

from collections.abc import Iterator
from random import Random

import psycopg
import pytest

from pgaudit import AuditEvent, Change
from pgaudit.events import AuditContext
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.jobs import record_persist_and_commit

EVENTS = 1_500
BATCH = 150
ACTIONS = ("claim.approved", "claim.denied", "claim.paid.out", "policy.renewed", "user.login")


def varied_event(random: Random) -> AuditEvent:
    """Returns an event whose fields have a few common and some rare values."""
    number = random.randrange(12)
    targets = [f"claim:{number}", f"policy:{random.randrange(3)}"] if number % 3 else [f"policy:{number}"]
    random.shuffle(targets)
    context = AuditContext(request_id=f"r-{random.randrange(40)}", ip="10.0.0.1") if number % 2 else None
    return AuditEvent(
        action=random.choices(ACTIONS, (40, 20, 5, 30, 1))[0],
        actor=random.choice([None, "user:1", "user:2", "service:billing"]),
        targets=targets,
        tenant=random.choice([None, "north", "south", 'a "quoted", one']),
        outcome=random.choices(["success", "failure", "denied"], (30, 2, 1))[0],  # type: ignore[arg-type]
        context=context,
        changes=[Change(path="status", before="open", after="paid")] if number == 1 else [],
        data={"amount": "10.50", "lines": [{"n": number}], "n": number} if number % 2 else {},
    )


@pytest.fixture(scope="module")
def log(server: Server) -> Iterator[psycopg.Connection]:
    """A connection to a log of 1,500 events in six partitions, appended in ten batches."""
    random = Random(11)
    with fresh_database(server) as database, psycopg.connect(database.dsn, autocommit=True) as conn:
        make_small_partitions_and_commit(conn)
        for _ in range(EVENTS // BATCH):
            assert record_persist_and_commit(conn, *(varied_event(random) for _ in range(BATCH))) == []
        yield conn
