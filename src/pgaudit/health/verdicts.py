"""The verdict on each thing that was observed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from pgaudit.errors import SpoolRefused
from pgaudit.health import schema_checks
from pgaudit.health.anchor_checks import anchored
from pgaudit.health.archive_checks import archived
from pgaudit.health.capture_checks import captured
from pgaudit.health.observation import Observation
from pgaudit.health.processor_checks import processing
from pgaudit.health.schema_checks import SchemaObservation
from pgaudit.health.seal_checks import sealed, verified
from pgaudit.health.status import Check, Status
from pgaudit.health.stream_checks import streaming
from pgaudit.recording import spool
from pgaudit.settings import Mode, Settings

CLOCK_TOLERANCE_SECONDS: Final = 1.0


def verdicts(seen: Observation, schema: SchemaObservation, settings: Settings) -> Iterator[Check]:
    """Returns a verdict for each thing that was observed in the database."""
    good, fair, bad = Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY
    yield Check("database", good, "answers", None, "The database answers.")
    yield from schema_checks.schema_verdicts(schema)

    yield workers(seen.workers, settings.mode)
    yield waiting(seen.oldest_waiting or 0.0, settings.health_max_lag)
    yield expect_zero(
        "failed", seen.failed, "job(s) failed: `pgaudit jobs list`, then `pgaudit jobs retry` or `acknowledge`."
    )
    yield expect_zero("stalled", seen.stalled, "job(s) of stalled workers wait to be reclaimed.")
    yield expect_zero(
        "conflicts",
        seen.conflicts,
        "event(s) of the last day have the id of another one: see pgaudit.conflicting_events.",
    )

    advice = "exists." if seen.partition_ahead else "is missing: start a worker, or call pgaudit.ensure_partitions()."
    status = good if seen.partition_ahead else fair
    yield Check("partitions", status, str(seen.partition_ahead).lower(), "true", f"The log's next partition {advice}")

    yield expect_none(
        "log_lock", seen.log_holder, bad, "The end of the log is locked by {}.", "No transaction keeps the log locked."
    )
    yield expect_none(
        "publications",
        seen.publications,
        fair,
        "New partitions stop the subscribers of {}: set publish_via_partition_root = true.",
        "No publication would stop at a new partition.",
    )
    yield long_transactions(seen, settings.health_max_transaction)
    yield anchored(seen.anchor_lags, settings)
    yield archived(seen.archive_slots)
    yield expect_none(
        "row_security",
        seen.row_security,
        bad,
        "Row level security hides rows of {} from this role: switch it off for the schema pgaudit, or check as another "
        "role. The other checks may be wrong.",
        "No row is hidden from this role.",
    )
    yield sealed(seen, settings)
    yield verified(seen, settings)
    yield captured(seen.capture_problems)
    yield unrecorded(seen)
    yield streaming(seen.stream_states, settings)
    yield processing(seen.processor_states, settings.health_max_processor_lag)


def workers(alive: int, mode: Mode) -> Check:
    """Returns the verdict on the number of workers that are alive."""
    if mode == Mode.OFF:
        return Check("workers", Status.DEGRADED, alive, 0, "PGAUDIT_MODE=off: no event is recorded; unset it.")
    if mode != Mode.QUEUE:
        return Check("workers", Status.HEALTHY, alive, 0, f"PGAUDIT_MODE={mode}: no worker is needed.")
    if alive:
        return Check("workers", Status.HEALTHY, alive, 1, f"{alive} worker(s) alive.")
    return Check("workers", Status.DEGRADED, alive, 1, "No worker is alive: start `pgaudit worker`.")


def waiting(lag: float, limit: float) -> Check:
    """Returns the verdict on the seconds since the oldest waiting event was recorded.

    The age counts from the call of ``record``, because the database does not know when a transaction was committed:
    after a long transaction, the age includes its duration.
    """
    if lag < -CLOCK_TOLERANCE_SECONDS:
        message = f"The oldest waiting event was recorded {-lag:.0f} s in the future: the server's clock was set back."
        return Check("oldest_waiting", Status.DEGRADED, lag, limit, message)
    status = Status.UNHEALTHY if lag > limit else Status.DEGRADED if lag > limit / 2 else Status.HEALTHY
    message = f"The oldest waiting event was recorded {max(lag, 0):.1f} s ago."
    return Check("oldest_waiting", status, lag, limit, message)


def long_transactions(seen: Observation, limit: float) -> Check:
    """Returns the verdict on what holds back vacuum: old transactions, and replication slots without a reader."""
    age = seen.longest_transaction
    if seen.idle_slots:
        message = f"Replication slots without a reader hold back vacuum: {seen.idle_slots}. Drop them."
        return Check("long_transactions", Status.DEGRADED, age, limit, message)
    if age and age > limit:
        message = f"The oldest open transaction is {age:.0f} s old; it holds back vacuum."
        return Check("long_transactions", Status.DEGRADED, age, limit, message)
    if not seen.sees_all_sessions:
        message = "Unknown: this role sees its own sessions only. GRANT pg_read_all_stats lets it see all."
        return Check("long_transactions", Status.HEALTHY, "unknown", limit, message)
    return Check("long_transactions", Status.HEALTHY, age or 0.0, limit, f"The oldest is {age or 0.0:.0f} s old.")


def unrecorded(seen: Observation) -> Check:
    """Returns the verdict on changes that a guard has let pass without an event."""
    count = seen.unrecorded_changes
    message = "No guard has let a change pass without an event in the last day."
    if count:
        message = (
            f"{count:,} row(s) of {seen.unrecorded_tables} changed without an event in the last day: "
            "`pgaudit coverage` names them; record an event in the same transaction, or capture the table."
        )
    return Check("unrecorded_changes", Status.DEGRADED if count else Status.HEALTHY, count, 0, message)


def check_spool(settings: Settings) -> Check:
    """Returns the verdict on the spool of this machine."""
    directory, limit = settings.spool_dir, settings.spool_max_age
    if directory is None:
        return Check("spooled", Status.HEALTHY, 0, 0, "This process has no spool (PGAUDIT_SPOOL_DIR).")
    try:
        waiting, oldest, refused = spool.count(directory), spool.oldest(directory), spool.count_refused(directory)
    except (SpoolRefused, OSError) as error:
        return Check("spooled", Status.DEGRADED, None, 0, f"{directory} cannot be used: {error}.")
    age = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
    advice = "None."
    if waiting:
        advice = (
            f"{waiting} event(s) wait in {directory}, the oldest for {age:.0f} s: start a worker there with the same "
            "PGAUDIT_SPOOL_DIR, or run `pgaudit replay`."
        )
    if refused:
        advice = f"{directory}/*.refused: events that could not be recorded; correct or remove them. {advice}"
    status = Status.UNHEALTHY if age > limit else Status.DEGRADED if waiting or refused else Status.HEALTHY
    return Check("spooled", status, waiting, 0, advice)


def expect_none(name: str, found: str | None, status: Status, problem: str, otherwise: str) -> Check:
    """Returns the verdict on something that should not exist; ``problem`` has ``{}`` for what was found."""
    if found:
        return Check(name, status, found, None, problem.format(found))
    return Check(name, Status.HEALTHY, found, None, otherwise)


def expect_zero(name: str, count: int, what: str) -> Check:
    """Returns the verdict on a count that should be zero."""
    return Check(name, Status.DEGRADED if count else Status.HEALTHY, count, 0, f"{count} {what}" if count else "None.")
