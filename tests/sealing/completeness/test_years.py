"""Years: the days of one are rolled up, so that ten years stay small."""

from datetime import date, timedelta
from typing import LiteralString

from pgaudit.sealing.completeness import check, differences
from tests.sealing.completeness.conftest import MONDAY, Log

PERIODS = "SELECT period FROM pgaudit.target_period ORDER BY period"
TILED = "SELECT DISTINCT period FROM pgaudit.target_tile ORDER BY period"


def column(log: Log, query: LiteralString) -> list[object]:
    """The only column of a query."""
    return [row[0] for row in log.conn.execute(query).fetchall()]


def test_a_year_is_rolled_up(log: Log) -> None:
    """Its tree has the indexes of all its days; then the leaves of these days go, and proofs have one part for it."""
    last = date(2026, 12, 31)
    log.append("claim:7", "claim:8")
    log.seal_on(last - timedelta(days=1))
    log.append(["policy:1", "claim:7"])
    log.seal_on(last)
    assert log.close(last) == ["2026-12-30"]
    log.append("claim:7")
    log.seal_on(date(2027, 1, 1))
    assert log.close(date(2027, 1, 1)) == ["2026-12-31", "2026"]
    assert column(log, TILED) == ["2026", "2026-12-30", "2026-12-31"]
    proof = log.prove("claim:7")
    assert [part["event"].count('"period": "2026"') for part in proof.periods] == [1]
    log.append("claim:9")
    log.seal_on(date(2027, 1, 2))
    assert log.close(date(2027, 1, 2)) == ["2027-01-01"]
    assert column(log, TILED) == ["2026", "2027-01-01"]
    assert column(log, PERIODS) == ["2026", "2026-12-30", "2026-12-31", "2027-01-01"]
    verdict = check(log.prove("claim:7"), log.checkpoint)
    assert verdict.found is not None, verdict.reason
    assert (verdict.found.indexes, verdict.found.until) == ([0, 2, 4], "2027-01-01")
    assert list(differences(log.conn)) == []


def test_a_year_is_one_part_of_a_proof(log: Log) -> None:
    """A log without events for two years has each day of them, and a proof of some kilobytes over them."""
    log.append("claim:7")
    log.seal_on(date(2024, 12, 30))
    log.append("claim:7")
    log.seal_on(date(2027, 1, 1))
    assert len(log.close(date(2027, 1, 1))) == 2 + 365 + 365 + 3
    proof = log.prove("claim:7")
    verdict = check(proof, log.checkpoint)
    assert verdict.found is not None, verdict.reason
    assert (verdict.found.indexes, verdict.found.until, len(proof.periods)) == ([0, 1], "2026", 3)
    assert len(str(proof)) < 6_000


def test_a_day_of_many_targets(log: Log) -> None:
    """More leaves than are stored at a time: each place of the tree proves itself, and so does absence."""
    names = [f"part:{number}" for number in range(18_000)]
    log.append(*(names[start : start + 600] for start in range(0, len(names), 600)))
    log.seal_on(MONDAY)
    log.append("claim:7")
    log.seal_on(MONDAY + timedelta(days=1))
    assert log.close(MONDAY + timedelta(days=1)) == [str(MONDAY)]
    assert column(log, "SELECT count(*) FROM pgaudit.target_tile") == [71]
    for number in range(0, 18_000, 1_777):
        found = check(log.prove(f"part:{number}"), log.checkpoint).found
        assert found is not None
        assert found.indexes == [number // 600]
    proof = log.prove("part:18000")
    assert check(proof, log.checkpoint).reason is None
    assert len(str(proof)) < 6_000
    assert list(differences(log.conn)) == []
