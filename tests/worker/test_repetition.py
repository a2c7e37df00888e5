"""Warnings that repeat themselves are written at growing intervals."""

import logging
import time

import pytest

from pgaudit.worker import repetition
from pgaudit.worker.repetition import RepetitionFilter, quiet_log


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as the filter reads it."""
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def record(message: str, level: int = logging.WARNING) -> logging.LogRecord:
    """Returns a log record."""
    return logging.LogRecord("pgaudit.worker", level, "", 0, message, None, None)


def test_a_repeated_warning_is_written_after_one_two_four_seconds(clock: list[float]) -> None:
    """Ten warnings a second for ten minutes are a handful of lines, which say how many were left out."""
    limit, written = RepetitionFilter(), []
    for tenth in range(6_000):
        clock[0] = 1_000 + tenth / 10
        if limit.filter(made := record(f"cannot fetch jobs, attempt {tenth}")):
            written.append((round(tenth / 10), made.getMessage()))
    assert [second for second, _ in written] == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511]
    assert written[0][1] == "cannot fetch jobs, attempt 0"
    assert written[2][1].endswith("(19 more like it since)")


def test_a_warning_of_each_heartbeat_is_written_at_growing_intervals(clock: list[float]) -> None:
    """A warning that comes every 7.5 s for ten minutes is a repetition, so it is logged at growing intervals."""
    limit, written = RepetitionFilter(), []
    for heartbeat in range(80):
        clock[0] = 1_000 + 7.5 * heartbeat
        if limit.filter(record("cannot record a heartbeat")):
            written.append(7.5 * heartbeat)
    assert written == [0, 7.5, 15, 22.5, 37.5, 60, 97.5, 165, 300, 562.5]


@pytest.mark.usefixtures("clock")
def test_another_warning_passes() -> None:
    """Only what has the same text is a repetition."""
    limit = RepetitionFilter()
    assert limit.filter(record("cannot fetch jobs"))
    assert limit.filter(record("cannot record a heartbeat"))
    assert not limit.filter(record("cannot fetch jobs"))


def test_a_warning_that_stayed_away_passes_at_once(clock: list[float]) -> None:
    """The next outage is news."""
    limit = RepetitionFilter()
    for _ in range(20):
        limit.filter(record("cannot fetch jobs"))
        clock[0] += 1
    clock[0] += 600
    assert limit.filter(record("cannot fetch jobs"))


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR])
def test_other_levels_always_pass(level: int) -> None:
    """An error is never left out."""
    limit = RepetitionFilter()
    assert [limit.filter(record("the schema is missing", level)) for _ in range(3)] == [True] * 3


@pytest.mark.usefixtures("clock")
def test_the_memory_of_warnings_is_bounded() -> None:
    """The oldest of 101 kinds of warnings is forgotten, the newest is not."""
    limit = RepetitionFilter()
    for number in range(repetition.KINDS + 1):
        limit.filter(record("cannot replay " + "x" * number))
    assert limit.filter(record("cannot replay "))
    assert not limit.filter(record("cannot replay " + "x" * repetition.KINDS))


def test_the_limit_ends_with_its_block(caplog: pytest.LogCaptureFixture) -> None:
    """An application's own loggers are never touched, and pgaudit's only while a worker runs."""
    logger = logging.getLogger("pgaudit.worker")
    with quiet_log():
        for _ in range(3):
            logger.warning("cannot fetch jobs")
    for _ in range(3):
        logger.warning("cannot fetch jobs")
    assert len(caplog.records) == 4
