"""An archive keeps each event, whatever happens to the primary."""

import pytest
from psycopg import errors

from pgaudit.sealing.verify import verify
from tests.archive.conftest import Pair
from tests.support.queries import value
from tests.support.tampering import tamper
from tests.support.waiting import wait_until

TEXTS = "SELECT string_agg(audit_log::text, '' ORDER BY index) FROM pgaudit.audit_log"
PARTITION = "pgaudit.audit_log_0"


def test_archive_has_what_was_there_and_what_is_appended(pair: Pair) -> None:
    """The first copy, and each later event, through new partitions of the primary."""
    made = pair.setup()
    assert (made.was_there, made.copying) == (False, [])
    assert pair.archived() == list(range(300))
    pair.append(700)
    pair.catch_up()
    assert pair.archived() == list(range(1_000))
    report = pair.check()
    assert report.findings == ()
    assert (report.lag, report.differences.compared, report.size) == (0, 1_000, 1_000)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pgaudit.audit_log SET event = jsonb_set(event, '{action}', '\"claim.denied\"') WHERE index IN (3, 290)",
        "DELETE FROM pgaudit.audit_log WHERE index IN (3, 290)",
        "TRUNCATE pgaudit.audit_log",
        "TRUNCATE pgaudit.audit_log, pgaudit.event_key, pgaudit.event_target, pgaudit.tile, pgaudit.checkpoint",
        f"DROP TABLE {PARTITION}",
        f"ALTER TABLE pgaudit.audit_log DETACH PARTITION {PARTITION}; DROP TABLE {PARTITION}",
    ],
)
def test_what_a_superuser_of_the_primary_does_does_not_reach_it(pair: Pair, statement: str) -> None:
    """With the triggers disabled: the archive keeps all rows as they were, and goes on."""
    pair.setup()
    before, keys = value(pair.there, TEXTS), value(pair.there, "SELECT count(*) FROM pgaudit.event_key")
    tamper(pair.here, statement)
    assert value(pair.here, TEXTS) != before
    pair.append(5)
    pair.catch_up()
    assert pair.archived() == list(range(305))
    assert value(pair.there, TEXTS).startswith(before)
    assert value(pair.there, "SELECT count(*) FROM pgaudit.event_key") == keys + 5


def test_alteration_is_named(pair: Pair) -> None:
    """The check names the events of the primary that are not those of the archive, also by a column alone."""
    pair.setup()
    tamper(
        pair.here,
        "UPDATE pgaudit.audit_log SET event = jsonb_set(event, '{action}', '\"claim.denied\"') WHERE index = 3",
        "UPDATE pgaudit.audit_log SET actor_id = 'somebody' WHERE index = 290",
        "DELETE FROM pgaudit.audit_log WHERE index IN (7, 8)",
    )
    report = pair.check()
    assert (report.differences.altered, report.differences.deleted) == ([3, 290], [7, 8])
    assert [finding.name for finding in report.findings] == ["altered", "deleted"]


def test_partition_that_was_removed_is_no_finding(pair: Pair) -> None:
    """What the primary has removed as a partition is counted: the archive has it still."""
    pair.setup()
    pair.here.execute(f"ALTER TABLE pgaudit.audit_log DETACH PARTITION {PARTITION}")
    report = pair.check()
    assert report.findings == ()
    assert report.differences.removed == 256


def test_archive_that_was_set_up_after_a_partition_was_removed(pair: Pair) -> None:
    """It cannot have those events, so they are not missing; events that are deleted at its beginning are."""
    pair.append(256)
    pair.here.execute(f"ALTER TABLE pgaudit.audit_log DETACH PARTITION {PARTITION}")
    pair.setup()
    report = pair.check()
    assert (report.findings, report.differences.compared, report.differences.removed) == ((), 300, 0)
    tamper(pair.there, "DELETE FROM pgaudit.audit_log WHERE index < 300")
    (finding,) = pair.check().findings
    assert finding.message.startswith("the archive does not have the events 256, 257, 258")


def test_partition_that_is_removed_after_another_one(pair: Pair) -> None:
    """Its events are not missing: the archive has them still."""
    pair.append(256)
    pair.here.execute(f"ALTER TABLE pgaudit.audit_log DETACH PARTITION {PARTITION}")
    pair.setup()
    pair.here.execute("ALTER TABLE pgaudit.audit_log DETACH PARTITION pgaudit.audit_log_256")
    report = pair.check()
    assert (report.findings, report.differences.compared, report.differences.removed) == ((), 300, 256)


def test_archive_can_be_verified(pair: Pair) -> None:
    """The archive has what verification needs: it finds nothing there, and what was altered on the primary."""
    pair.setup()
    tamper(pair.here, 'UPDATE pgaudit.audit_log SET event = event || \'{"reason": "x"}\' WHERE index = 3')
    assert verify(pair.there).count == 0
    assert verify(pair.here).count > 0


def test_nothing_else_writes_to_the_archive(pair: Pair) -> None:
    """Its guards are those of each log, for all tables that are replicated: also for replicas."""
    pair.setup()
    pair.there.execute("SET session_replication_role = replica")
    for statement in (
        "UPDATE pgaudit.audit_log SET tenant = 'x'",
        "DELETE FROM pgaudit.audit_log",
        "TRUNCATE pgaudit.audit_log",
        "INSERT INTO pgaudit.audit_log SELECT * FROM pgaudit.audit_log LIMIT 0",
        "INSERT INTO pgaudit.event_key SELECT gen_random_uuid(), 1",
        "DELETE FROM pgaudit.tile",
        "INSERT INTO pgaudit.audit_log_0 SELECT * FROM pgaudit.audit_log LIMIT 0",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            pair.there.execute(statement.encode())


def test_forged_event_stops_the_archive(pair: Pair) -> None:
    """An event that takes the place of another one is not applied: the check names it."""
    pair.setup()
    tamper(
        pair.here,
        "CREATE TEMPORARY TABLE forged AS SELECT * FROM pgaudit.audit_log WHERE index = 3",
        "DELETE FROM pgaudit.audit_log WHERE index = 3",
        'UPDATE forged SET event = event || \'{"reason": "forged"}\'',
        "INSERT INTO pgaudit.audit_log SELECT * FROM forged",
    )
    wait_until("the archive has stopped", lambda: "not_applying" in pair.found())
    assert pair.check().differences.altered == [3]
    assert "forged" not in value(pair.there, TEXTS)


def test_both_servers_are_restarted(pair: Pair) -> None:
    """After crashes of both, the archive goes on where it was."""
    pair.setup()
    for server in (pair.archive_server, pair.primary_server):
        server.halt("immediate")
    for server in (pair.primary_server, pair.archive_server):
        server.start()
    pair.reconnect()
    pair.append(5)
    pair.catch_up()
    assert pair.archived() == list(range(305))
    assert pair.found() == set()
