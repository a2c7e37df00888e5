"""A worker whose infrastructure fails slows down, and is back at once when it works again."""

import psycopg

from pgaudit.worker.congestion import MAX_TERMINATED, Congestion

DISK_FULL = psycopg.errors.DiskFull()
TERMINATED = psycopg.errors.AdminShutdown()


def test_errors_halve_the_batch_and_double_the_pause() -> None:
    """From 1,000 jobs and 50 ms down to one job and the longest pause, with a fifth of jitter."""
    congestion = Congestion(batch_size=1_000, max_pause=2.0)
    pauses, sizes = [], []
    for _ in range(12):
        pauses.append(congestion.fail(DISK_FULL))
        sizes.append(congestion.max_jobs)
    assert sizes == [500, 250, 125, 62, 31, 15, 7, 3, 1, 1, 1, 1]
    expected = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 6]
    assert all(0.8 * delay <= pause <= 1.2 * delay for pause, delay in zip(pauses, expected, strict=True)), pauses


def test_the_pause_of_a_long_outage_has_a_maximum() -> None:
    """After any number of errors the pause stays below its maximum with jitter."""
    congestion = Congestion(batch_size=1_000, max_pause=2.0)
    assert max(congestion.fail(DISK_FULL) for _ in range(5_000)) <= 2.4
    assert congestion.is_paused


def test_a_batch_that_passes_ends_the_pause_and_doubles_the_next() -> None:
    """The worker is back at full speed after ten batches."""
    congestion = Congestion(batch_size=1_000, max_pause=2.0)
    for _ in range(12):
        congestion.fail(DISK_FULL)
    congestion.succeed()
    assert not congestion.is_paused
    assert congestion.max_jobs == 2
    for _ in range(9):
        congestion.succeed()
    assert congestion.max_jobs == 1_000
    assert congestion.fail(DISK_FULL) <= 0.06


def test_the_pause_after_a_terminated_session_does_not_grow() -> None:
    """After terminated sessions the pause stays short, because the server accepts the next one; the batch shrinks."""
    congestion = Congestion(batch_size=1_000, max_pause=2.0)
    assert max(congestion.fail(TERMINATED) for _ in range(20)) <= 0.06
    assert congestion.max_jobs == 1


def test_a_run_reconnects_after_terminated_sessions_alone() -> None:
    """A run reconnects after terminated sessions, but not after other errors or 20 terminated sessions in a row."""
    congestion = Congestion(batch_size=1_000, max_pause=2.0)
    assert not congestion.should_reconnect(DISK_FULL)
    for _ in range(MAX_TERMINATED):
        assert congestion.should_reconnect(TERMINATED)
        congestion.fail(TERMINATED)
    assert not congestion.should_reconnect(TERMINATED)
    congestion.succeed()
    assert congestion.should_reconnect(TERMINATED)
