"""Proofs for one target over several days: all its events, and no day without an answer."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pgaudit.sealing.completeness import Completeness, check, differences, prove, sealed_until
from pgaudit.sealing.completeness.offline import target_key
from tests.sealing.completeness.conftest import MONDAY, Log
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.tampering import tamper

NAMED = """
    SELECT index FROM pgaudit.audit_log
     WHERE event->'targets' @> jsonb_build_array(jsonb_build_object('type', 'claim', 'id', %s::text)) ORDER BY index
"""


def indexes_of(log: Log, claim: str) -> list[int]:
    """The indexes of all events that name a claim, by their content."""
    return [index for (index,) in log.conn.execute(NAMED, [claim]).fetchall()]


def shown(log: Log, target: str) -> list[int]:
    """The indexes that a proof shows."""
    verdict = check(log.prove(target), log.checkpoint)
    assert verdict.found is not None, verdict.reason
    return verdict.found.indexes


def test_all_events_of_a_target(three_days: Log) -> None:
    """Of all days, also where it is not the first target; of a day without it that it is absent."""
    proof = three_days.prove("claim:7")
    verdict = check(proof, three_days.checkpoint)
    assert verdict.found is not None, verdict.reason
    assert verdict.found.indexes == indexes_of(three_days, "7")
    assert len(verdict.found.indexes) == 4
    assert verdict.found.until == str(MONDAY + timedelta(days=2))
    assert ["member" in part for part in proof.periods] == [True, False, True]
    assert check(proof, three_days.checkpoint, three_days.texts(*verdict.found.indexes)).reason is None
    assert list(differences(three_days.conn)) == []


def test_the_proof_is_a_file(three_days: Log) -> None:
    """It is read again as it was written; another file is refused."""
    proof = three_days.prove("claim:7")
    assert Completeness.parse(str(proof)) == proof
    with pytest.raises(ValueError, match="not a proof of completeness"):
        Completeness.parse("{}")


def test_every_target_of_a_day(three_days: Log) -> None:
    """Proofs lead to the root from each place of a tree of three tiles, the last of them incomplete."""
    for claim in ("100", "399", "699", "8", "9"):
        assert shown(three_days, f"claim:{claim}") == indexes_of(three_days, claim) != []


def test_absence(log: Log) -> None:
    """Before the first target of a day, behind the last, and between two; and on a day without any event."""
    log.day(MONDAY, "claim:1", "claim:2")
    present = sorted(target_key("claim", claim) for claim in ("1", "2"))
    present = sorted([*present, target_key("pulse", "0")])
    places = {sum(key < target_key("claim", str(claim)) for key in present) for claim in range(3, 60)}
    assert places == {0, 1, 2, 3}
    for claim in range(3, 60):
        (part,) = log.prove(f"claim:{claim}").periods
        place = sum(key < target_key("claim", str(claim)) for key in present)
        assert (part["left"] is None, part["right"] is None) == (place == 0, place == 3)
        assert [part[side]["position"] for side in ("left", "right") if part[side]] == [
            position for position in (place - 1, place) if 0 <= position < 3
        ]
        assert shown(log, f"claim:{claim}") == []


def test_days_without_sealing_are_closed_one_by_one(log: Log) -> None:
    """After a downtime, the first day ends with the first checkpoint; the others are empty."""
    log.append("claim:7")
    log.seal_on(MONDAY)
    log.append("claim:7")
    log.seal_on(MONDAY + timedelta(days=3))
    days = [str(MONDAY + timedelta(days=number)) for number in range(3)]
    assert log.close(MONDAY + timedelta(days=3)) == days
    sizes = log.conn.execute(
        "SELECT first_index, end_index, targets FROM pgaudit.target_period ORDER BY period"
    ).fetchall()
    assert sizes == [(0, 2, 1), (2, 2, 0), (2, 2, 0)]
    assert shown(log, "claim:7") == [0, 1]
    assert shown(log, "claim:8") == []


def test_a_day_is_closed_after_midnight_and_a_checkpoint(log: Log) -> None:
    """Not before midnight in UTC, and not before something was signed after that."""
    assert log.close(MONDAY) == []
    log.append("claim:7")
    log.seal_on(MONDAY)
    assert log.close(MONDAY) == []
    assert log.close(MONDAY + timedelta(days=1)) == []
    log.append("claim:7")
    log.seal_on(MONDAY + timedelta(days=1))
    assert log.close(MONDAY + timedelta(days=1)) == [str(MONDAY)]
    assert log.close(MONDAY + timedelta(days=1)) == []


def test_while_one_process_closes_days_another_does_not(log: Log, dsn: str) -> None:
    """It finds nothing to do until its next turn."""
    log.append("claim:7")
    log.seal_on(MONDAY)
    log.append("claim:7")
    log.seal_on(MONDAY + timedelta(days=1))
    with psycopg.connect(dsn) as other:
        assert other.execute("SELECT pgaudit.try_lock_target_periods()").fetchone() == (True,)
        assert log.close(MONDAY + timedelta(days=1)) == []
    assert log.close(MONDAY + timedelta(days=1)) == [str(MONDAY)]


def test_sealed_until(log: Log) -> None:
    """The midnight behind the last day whose event is signed; nothing for what came later, or never."""
    assert sealed_until(log.conn, ("claim", "7")) is None
    log.day(MONDAY, "claim:7", ["policy:1", "claim:9"])
    log.append("claim:8")
    assert sealed_until(log.conn, ("claim", "7")) == datetime(2026, 11, 24, tzinfo=UTC)
    assert sealed_until(log.conn, ("claim", "9")) == datetime(2026, 11, 24, tzinfo=UTC)
    assert sealed_until(log.conn, ("claim", "8")) is None
    assert sealed_until(log.conn, ("claim", "none")) is None


def test_a_proof_against_an_earlier_checkpoint(three_days: Log) -> None:
    """It has the days that were sealed by then; the current checkpoint is refused for it."""
    early = three_days.prove("claim:7").periods[1]["index"]
    older = three_days.conn.execute("SELECT max(size) FROM pgaudit.checkpoint WHERE size <= %s", [early]).fetchone()
    assert older is not None
    proof = prove(three_days.conn, "claim:7", older[0])
    assert len(proof.periods) == 1
    assert check(proof, three_days.checkpoint).reason == (
        f"the proof is for a checkpoint of {older[0]} events, not of {three_days.checkpoint.size}"
    )


def test_a_target_that_lost_an_event_is_not_marked(three_days: Log) -> None:
    """Nor one that has an event too many in a sealed day; other targets are."""
    marked = datetime(2026, 11, 26, tzinfo=UTC)
    assert [sealed_until(three_days.conn, ("claim", name)) for name in ("7", "8", "399")] == [marked] * 3
    tamper(
        three_days.conn,
        "DELETE FROM pgaudit.event_target WHERE type = 'claim' AND id = '7'",
        "INSERT INTO pgaudit.event_target VALUES ('claim', '8', 5)",
    )
    assert [sealed_until(three_days.conn, ("claim", name)) for name in ("7", "8", "399")] == [None, None, marked]


def test_a_day_whose_events_were_detached_is_left_out(log: Log) -> None:
    """Its tree cannot be built again, and that is no finding; those of later days are."""
    make_small_partitions_and_commit(log.conn)
    log.day(MONDAY, *(f"claim:{number}" for number in range(300)))
    log.day(MONDAY + timedelta(days=1), "claim:7")
    log.conn.autocommit = True
    log.conn.execute("ALTER TABLE pgaudit.audit_log DETACH PARTITION pgaudit.audit_log_0 CONCURRENTLY")
    assert list(differences(log.conn)) == []
    tamper(log.conn, """UPDATE pgaudit.audit_log SET event = event || '{"targets": []}' WHERE index = 302""")
    (found,) = differences(log.conn)
    assert "the targets of 2026-11-24" in found.message
