"""Is the audit trail keeping up? One query, and a sentence for each thing that matters."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from pgaudit import schema_checks, spool
from pgaudit.checks import Check, Status
from pgaudit.schema_checks import SchemaObservation
from pgaudit.settings import Mode, Settings

__all__ = ["Check", "HealthReport", "Status", "check", "check_async"]


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The worst of its checks, and the checks."""

    status: Status
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """What the database says of itself."""

    workers: int
    oldest_waiting: float | None
    failed: int
    stalled: int
    conflicts: int
    partition_ahead: bool
    log_holder: str | None
    publications: str | None
    longest_transaction: float | None


# Classes of SQLSTATE: there is no such schema; there is no such object, or no right to it.
MISSING: Final = ("3F", "42")
OBSERVE: Final = """
    SELECT (SELECT count(*) FROM pgaudit.worker_stats WHERE alive) AS workers,
           oldest_waiting_seconds AS oldest_waiting,
           failed,
           stalled,
           (SELECT count(*) FROM pgaudit.conflicting_events
             WHERE recorded_at > clock_timestamp() - interval '1 day') AS conflicts,
           pgaudit.is_partition_ahead() AS partition_ahead,
           (SELECT string_agg(coalesce('process ' || pid, prepared_transaction) || ' of role ' || role, ', ')
              FROM pgaudit.log_lock_holder
             -- Without pg_read_all_stats the start is unknown: then the holder is named if events wait.
             WHERE coalesce(since < clock_timestamp() - interval '10 s', oldest_waiting_seconds > 10)) AS log_holder,
           -- A new partition is published as a table that the subscriber does not have, and stops it.
           (SELECT string_agg(pubname, ', ') FROM pg_publication p
             WHERE NOT pubviaroot
               AND (puballtables
                    OR 'pgaudit'::regnamespace IN (SELECT pnnspid FROM pg_publication_namespace WHERE pnpubid = p.oid)
                    OR 'pgaudit.audit_log'::regclass IN (SELECT prrelid FROM pg_publication_rel WHERE prpubid = p.oid))
           ) AS publications,
           -- Only what the role may see: its own sessions, or, with pg_monitor, all of them; and what is prepared.
           (SELECT max(extract(epoch FROM clock_timestamp() - start))::double precision
              FROM (SELECT xact_start AS start FROM pg_stat_activity
                     WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
                       AND backend_type = 'client backend' AND pid <> pg_backend_pid()
                    UNION ALL
                    SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()) open
           ) AS longest_transaction
      FROM pgaudit.queue_stats
"""


def check(conn: psycopg.Connection[Any], settings: Settings | None = None) -> HealthReport:
    """Looks at the trail through that connection. Never raises for the database's sake: that is a finding.

    >>> check(conn).status
    <Status.HEALTHY: 'healthy'>
    """
    settings = settings or Settings()
    try:
        with conn.cursor(row_factory=class_row(Observation)) as cursor:
            observation = cursor.execute(OBSERVE).fetchone()
        schema = schema_checks.observe(conn)
    except psycopg.Error as error:
        return unreachable(error)
    return report(observation, schema, spooled(settings), settings)


async def check_async(conn: psycopg.AsyncConnection[Any], settings: Settings | None = None) -> HealthReport:
    """``check`` for asynchronous connections."""
    settings = settings or Settings()
    try:
        async with conn.cursor(row_factory=class_row(Observation)) as cursor:
            await cursor.execute(OBSERVE)
            observation = await cursor.fetchone()
        schema = await schema_checks.observe_async(conn)
    except psycopg.Error as error:
        return unreachable(error)
    return report(observation, schema, await asyncio.to_thread(spooled, settings), settings)


def unreachable(error: psycopg.Error) -> HealthReport:
    """The report when the database does not answer, or has no pgaudit schema that this role may read."""
    state, reason = error.sqlstate or "", str(error).partition("\n")[0] or repr(error)
    verdict = "refuses" if state else "does not answer"
    hint = "; run `pgaudit migrate`, or `pgaudit grant --reader` for this role" if state[:2] in MISSING else ""
    check = Check("database", Status.UNHEALTHY, error.sqlstate, None, f"The database {verdict}: {reason}{hint}.")
    return HealthReport(Status.UNHEALTHY, (check,))


def report(seen: Observation | None, schema: SchemaObservation, spool_check: Check, settings: Settings) -> HealthReport:
    """The verdict on what was seen."""
    assert seen is not None, "queue_stats has one row"  # noqa: S101 - for the type checker
    checks = (*verdicts(seen, schema, settings), spool_check)
    worst = max(checks, key=lambda check: list(Status).index(check.status))
    return HealthReport(worst.status, checks)


def verdicts(seen: Observation, schema: SchemaObservation, settings: Settings) -> Iterator[Check]:
    """A verdict for each thing that was seen."""
    good, fair, bad = Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY
    yield Check("database", good, "answers", None, "The database answers.")
    yield from schema_checks.schema_verdicts(schema)

    if settings.mode != Mode.QUEUE:
        yield Check("workers", good, seen.workers, 0, f"PGAUDIT_MODE={settings.mode}: no worker is needed.")
    else:
        advice = f"{seen.workers} worker(s) live." if seen.workers else "No live worker: start `pgaudit worker`."
        yield Check("workers", good if seen.workers else fair, seen.workers, 1, advice)

    lag, limit = seen.oldest_waiting or 0.0, settings.health_max_lag
    status = bad if lag > limit else fair if lag > limit / 2 else good
    yield Check("oldest_waiting", status, lag, limit, f"The oldest waiting event has waited for {lag:.1f} s.")

    yield none_of(
        "failed", seen.failed, "job(s) failed: `pgaudit jobs list`, then `pgaudit jobs retry` or `acknowledge`."
    )
    yield none_of("stalled", seen.stalled, "job(s) of silent workers wait to be reclaimed.")

    yield none_of(
        "conflicts",
        seen.conflicts,
        "event(s) of the last day have the id of another one: see pgaudit.conflicting_events.",
    )

    advice = "exists." if seen.partition_ahead else "is missing: start a worker, or call pgaudit.ensure_partitions()."
    status = good if seen.partition_ahead else fair
    yield Check("partitions", status, str(seen.partition_ahead).lower(), "true", f"The log's next partition {advice}")

    advice = (
        f"The end of the log is locked by {seen.log_holder}."
        if seen.log_holder
        else "No transaction keeps the log locked."
    )
    yield Check("log_lock", bad if seen.log_holder else good, seen.log_holder, None, advice)

    advice = f"New partitions stop the subscribers of {seen.publications}: set publish_via_partition_root = true."
    status, advice = (fair, advice) if seen.publications else (good, "No publication would stop at a new partition.")
    yield Check("publications", status, seen.publications, None, advice)

    age, limit = seen.longest_transaction or 0.0, settings.health_max_transaction
    advice = f"The oldest open transaction is {age:.0f} s old" + ("; it holds back vacuum." if age > limit else ".")
    yield Check("long_transactions", fair if age > limit else good, age, limit, advice)


def spooled(settings: Settings) -> Check:
    """The spool of this machine."""
    try:
        waiting = spool.count(settings.spool_dir)
    except OSError as error:
        return Check(
            "spooled", Status.DEGRADED, None, 0, f"{settings.spool_dir.resolve()} cannot be read: {error.strerror}."
        )
    return none_of("spooled", waiting, f"event(s) wait in {settings.spool_dir.resolve()}: see `pgaudit replay --help`.")


def none_of(name: str, count: int, what: str) -> Check:
    """A thing of which there should be none."""
    return Check(name, Status.DEGRADED if count else Status.HEALTHY, count, 0, f"{count} {what}" if count else "None.")
