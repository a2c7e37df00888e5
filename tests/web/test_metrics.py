"""The metrics: their values, and that an OpenMetrics parser reads them."""

import httpx
import psycopg
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import pgaudit
from pgaudit import AuditEvent, AuditLog, Mode, Settings, health
from pgaudit.web import create_app
from tests.support.http import client_of
from tests.support.jobs import insert_poison
from tests.support.partitions import fill_and_commit
from tests.support.queries import value


def samples(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """Returns the values of a scrape by name and label values."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_an_idle_trail_has_metrics_without_a_lag(client: httpx.Client) -> None:
    """Depths are there at zero; the lag is left out, because it has no value."""
    seen = samples(client)
    assert {seen["pgaudit_jobs", "audit", state] for state in ("waiting", "active", "delayed", "failed")} == {0}
    assert seen["pgaudit_oldest_waiting_seconds", "audit"] == 0
    assert seen["pgaudit_workers_alive",] == 0
    assert not [name for name, *_ in seen if name.startswith("pgaudit_lag")]


def test_a_scrape_has_the_state_of_queue_log_and_workers(
    client: httpx.Client, conn: psycopg.Connection, settings: Settings, failed_job: int
) -> None:
    """A scrape has depths, ages, persisted events with their lag, and the heartbeats of the workers."""
    AuditLog(settings.model_copy(update={"mode": Mode.INLINE})).record(conn, AuditEvent(action="claim.approved"))
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved"), AuditEvent(action="claim.denied"))
    (worker,) = conn.execute("SELECT worker_id FROM pgaudit.register_worker()").fetchone() or (None,)
    stalled = insert_poison(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'doing', worker_id = 99 WHERE id = %s", [stalled])
    conn.commit()
    seen = samples(client)
    assert failed_job
    assert [seen["pgaudit_jobs", "audit", state] for state in ("waiting", "active", "failed")] == [2, 1, 1]
    assert seen["pgaudit_stalled_jobs", "audit"] == 1
    assert seen["pgaudit_events_persisted_total", "audit"] == 1
    assert seen["pgaudit_oldest_waiting_seconds", "audit"] > 0
    assert seen["pgaudit_workers_alive",] == 1
    assert 0 <= seen["pgaudit_worker_heartbeat_age_seconds", str(worker)] < 30
    counts = [seen["pgaudit_lag_seconds_bucket", le] for le in ("0.005", "0.1", "300.0", "+Inf")]
    assert counts == sorted(counts)
    assert counts[-2:] == [1, 1] == [seen["pgaudit_lag_seconds_count",]] * 2
    assert 0 <= seen["pgaudit_lag_seconds_sum",] < 60
    assert seen["pgaudit_spooled_events",] == 0


def test_at_most_50_workers_have_a_series(client: httpx.Client, conn: psycopg.Connection) -> None:
    """A worker that restarts again and again does not fill the memory of Prometheus; all are counted."""
    conn.execute("SELECT pgaudit.register_worker() FROM generate_series(1, 60)")
    conn.commit()
    seen = samples(client)
    assert seen["pgaudit_workers_alive",] == 60
    assert len([name for name, *_ in seen if name == "pgaudit_worker_heartbeat_age_seconds"]) == 50


def test_every_health_check_has_a_verdict(conn: psycopg.Connection, settings: Settings, failed_job: int) -> None:
    """The metrics have the verdict of each health check: 0 is healthy, 1 degraded, 2 unhealthy."""
    strict = settings.model_copy(update={"health_max_lag": 0.001})
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved"))
    conn.commit()
    with client_of(create_app(strict)) as client:
        verdicts = {key[1]: value for key, value in samples(client).items() if key[0] == "pgaudit_health_check"}
    assert failed_job
    assert set(verdicts) == {check.name for check in health.check(conn, strict).checks}
    assert [verdicts[name] for name in ("database", "failed", "oldest_waiting")] == [0, 1, 2]


@pytest.mark.parametrize("mode", Mode)
def test_the_mode_of_the_process_that_answers_is_a_label(settings: Settings, mode: Mode) -> None:
    """The info metric has the mode as a label, so that a process with mode off can be found."""
    with client_of(create_app(settings.model_copy(update={"mode": mode}))) as client:
        assert samples(client)["pgaudit_info", mode, pgaudit.__version__] == 1


def test_storage_of_queue_and_log_is_measured(client: httpx.Client, conn: psycopg.Connection) -> None:
    """The metrics have the sizes of queue and log with indexes, and count the current and the next partition."""
    fill_and_commit(conn, 1_000)
    seen = samples(client)
    tables = "SELECT sum(total_bytes) FROM pgaudit.storage_stats WHERE table_name ~ %s"
    assert seen["pgaudit_storage_bytes", "queue"] == value(conn, tables, ["^audit_jobs$"]) > 100_000
    assert seen["pgaudit_storage_bytes", "log"] == value(conn, tables, ["^(audit_log_|event_key|event_target)"])
    assert seen["pgaudit_log_partitions",] == 2


def test_the_oldest_transaction_has_an_age(dsn: str, client: httpx.Client) -> None:
    """The age of the oldest transaction is reported to a role that sees all sessions."""
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT txid_current()")
        conn.execute("SELECT pg_sleep(0.05)")
        assert samples(client)["pgaudit_oldest_transaction_seconds",] >= 0.05


def test_a_locked_partition_hides_only_the_sizes(client: httpx.Client, conn: psycopg.Connection) -> None:
    """While a partition is locked, as by VACUUM FULL, only the sizes are missing from the metrics."""
    conn.execute("LOCK TABLE pgaudit.audit_log_0 IN ACCESS EXCLUSIVE MODE")
    seen = samples(client)
    assert seen["pgaudit_oldest_waiting_seconds", "audit"] == 0
    assert not [name for name, *_ in seen if name == "pgaudit_storage_bytes"]


def test_changes_without_an_event_are_counted(client: httpx.Client, conn: psycopg.Connection) -> None:
    """Those of the last day that a guard has let pass, in rows."""
    conn.execute("CREATE TABLE payments (id bigint PRIMARY KEY)")
    conn.execute("SELECT pgaudit.add_guard('payments', 'payment', '{id}', 'warn')")
    conn.execute("INSERT INTO payments VALUES (1), (2)")
    conn.commit()
    assert samples(client)["pgaudit_unrecorded_changes",] == 2
