"""The log is the same whatever the sessions of writers and workers have set."""

import hashlib
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pgaudit import AuditEvent, AuditLog, Mode, Settings, health, stats
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.queries import Connection

# Every setting of a session whose type has known values.
SETTINGS = """
    SELECT name, vartype, setting, enumvals, min_val, max_val FROM pg_settings
     WHERE context IN ('user', 'superuser') AND vartype = %s AND name <> ALL (%s) ORDER BY name
"""
EXCLUDED = [
    "transaction_deferrable",  # set for one transaction; its default is tried
    "transaction_isolation",
    "transaction_read_only",
    "default_transaction_read_only",  # nothing can be recorded
    "exit_on_error",  # ends the session at the error that a duplicate causes and a function handles
    "debug_discard_caches",  # changes only the time that a statement takes
]
# The minimum is too small for any function.
TOO_SMALL = {("max_stack_depth", "100")}

TIME_ZONES = ("<UTC>-167", "UTC+100", "<Z>-10", "<+00>-05:30", "Asia/Kathmandu", "America/New_York", "5.5")
DATE_STYLES = [f"{style}, {order}" for style in ("ISO", "SQL", "German", "Postgres") for order in ("DMY", "MDY", "YMD")]
ENCODINGS = ("LATIN1", "SQL_ASCII", "EUC_JP", "WIN1252", "UTF8")
TEXTS = [
    *(("TimeZone", zone) for zone in TIME_ZONES),
    *(("DateStyle", style) for style in DATE_STYLES),
    *(("client_encoding", encoding) for encoding in ENCODINGS),
    *(
        ("search_path", path)
        for path in ("shadows, pg_catalog", "shadows, pgaudit", "pg_temp, shadows, pg_catalog", "")
    ),
    *(("timezone_abbreviations", names) for names in ("Australia", "India")),
    *((f"lc_{what}", "C") for what in ("messages", "monetary", "numeric", "time")),
    *((f"plpgsql.extra_{kind}", "all") for kind in ("errors", "warnings")),
    ("default_text_search_config", "pg_catalog.german"),
    ("log_statement", "all"),
]

# Objects that another search_path finds before those of Postgres or pgaudit.
SHADOWS = """
    CREATE SCHEMA shadows;
    CREATE TABLE shadows.audit_jobs (event jsonb, leaf_hash bytea, event_bytes integer);
    CREATE TABLE shadows.settings AS SELECT 1 AS max_event_bytes;
    CREATE TABLE shadows.log_lock ();
    CREATE VIEW shadows.log_head AS SELECT 4711::bigint AS size;
    CREATE FUNCTION shadows.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '-infinity' $$;
    CREATE FUNCTION shadows.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT shadows.now() $$;
    CREATE FUNCTION shadows.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT $1 $$;
    CREATE FUNCTION shadows.convert_to(text, name) RETURNS bytea LANGUAGE sql AS $$ SELECT NULL::bytea $$;
    CREATE FUNCTION shadows.length(text) RETURNS integer LANGUAGE sql AS $$ SELECT 0 $$;
    CREATE FUNCTION shadows.to_jsonb(timestamp) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"1999-01-01"'::jsonb $$;
    CREATE FUNCTION shadows.check_event(jsonb) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
    CREATE FUNCTION shadows.leaf_hash(jsonb) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$;
    CREATE FUNCTION shadows.same(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
    CREATE OPERATOR shadows.= (LEFTARG = text, RIGHTARG = text, FUNCTION = shadows.same);
    CREATE FUNCTION shadows.joined(bytea, bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT $1 $$;
    CREATE OPERATOR shadows.|| (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = shadows.joined);
    CREATE DOMAIN shadows.uuid AS text;
"""
LOGGED = """
    SELECT index, event::text, leaf_hash, occurred_at, recorded_at, clock_timestamp() - recorded_at, conflicts_with,
           (SELECT count(*) FROM pgaudit.event_sighting s WHERE s.event_id = l.event_id)
      FROM pgaudit.audit_log l WHERE event_id = %s
"""
Values = dict[str, str]


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[str]:
    """A migrated database for all tests of this module, with a schema of objects that shadow others."""
    with fresh_database(server) as database:
        with psycopg.connect(database.dsn) as conn:
            conn.execute(SHADOWS)
        yield database.dsn


@pytest.fixture(scope="module")
def observer(database: str) -> Iterator[Connection]:
    """A session without settings of its own."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@contextmanager
def session(dsn: str, values: Values) -> Generator[Connection]:
    """Opens a session with those settings, in autocommit."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("LOAD 'plpgsql'")
        for name, value in values.items():
            conn.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])
        yield conn


def made_event() -> AuditEvent:
    """Returns an event with values that a setting could read or print differently."""
    return AuditEvent(
        action="claim.approved",
        actor="user:42",
        targets=["claim:7", "policy:9", "policy:9"],
        tenant="acme",
        occurred_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        reason="Zürich\\n 'quoted' \"twice\" 保险 🧾",
        data={
            "float": 0.1 + 0.2,
            "tiny": 5e-324,
            "big": 10**30,
            "none": None,
            "list": [None, {}, "1e5"],
            "bytes": "\\x00",
        },
    )


def work(conn: Connection) -> None:
    """Does everything that a worker does, maintenance included."""
    ((number, token),) = conn.execute("SELECT * FROM pgaudit.register_worker()").fetchall()
    assert conn.execute("SELECT pgaudit.heartbeat(%s)", [token]).fetchone() == (True,)
    assert conn.execute("SELECT * FROM pgaudit.reclaim_stalled_jobs()").fetchall() == []
    conn.execute("SELECT pgaudit.ensure_partitions(), pgaudit.requeue_skipped_jobs()")
    conn.execute("SELECT pgaudit.prune_batches(), pgaudit.prune_job_errors()")
    while row := conn.execute("SELECT job_id FROM pgaudit.fetch_job(%s)", [token]).fetchone():
        assert conn.execute("SELECT * FROM pgaudit.running_jobs(%s)", [token]).fetchall() == [row]
        persisted = conn.execute(
            "SELECT taken > 0, failures, traceparents FROM pgaudit.persist(%s, %s, 10, traced => true)", [token, *row]
        ).fetchone()
        assert persisted == (True, [], []), persisted
    seen = conn.execute("SELECT alive, active_jobs FROM pgaudit.worker_stats WHERE worker_id = %s", [number]).fetchall()
    assert seen == [(True, 0)]
    conn.execute("SELECT pgaudit.unregister_worker(%s)", [token])
    (queue,) = stats.queue_stats(conn)
    assert queue.waiting == 0
    assert queue.active == 0
    assert queue.failed == 0


def record(conn: Connection, event: AuditEvent, mode: Mode) -> None:
    """Records an event in a transaction of its own."""
    with conn.transaction():
        AuditLog(Settings(mode=mode)).record(conn, event)


def deviation(observer: Connection, made: AuditEvent) -> str | None:
    """Returns the first field of an event that is wrong in the log; None if all are right."""
    found = observer.execute(LOGGED, [made.id]).fetchall()
    if len(found) != 1:
        return f"{len(found)} rows"
    index, text, leaf_hash, occurred_at, recorded_at, age, conflict, sightings = found[0]
    stored: dict[str, Any] = json.loads(text)
    expected: dict[str, tuple[object, object]] = {
        "sightings": (sightings, 1),
        "conflicts_with": (conflict, None),
        "leaf_hash": (leaf_hash, hashlib.sha256(b"\0" + text.encode()).digest()),
        "event": (AuditEvent.from_log(stored), made),
        "occurred_at": (occurred_at, made.occurred_at),
        "recorded_at": (recorded_at, datetime.fromisoformat(stored["recorded_at"])),
        "recorded_at is UTC": (stored["recorded_at"][-1], "Z"),
        "recorded just now": (abs(age) < timedelta(minutes=1), True),
        "drift": (observer.execute("SELECT * FROM pgaudit.column_drift(%s, %s)", [index, index + 1]).fetchall(), []),
    }
    return next(
        (f"{what}: {is_!r} instead of {should!r}" for what, (is_, should) in expected.items() if is_ != should), None
    )


def try_settings(dsn: str, observer: Connection, for_writer: Values, for_worker: Values) -> str | None:
    """Takes events to the log under those settings, each twice, queued and inline; returns what went wrong."""
    queued, inline = made_event(), made_event()
    try:
        with session(dsn, for_writer) as writer, session(dsn, for_worker) as worker:
            for _ in range(2):
                record(writer, queued, Mode.QUEUE)
                work(worker)
                record(writer, inline, Mode.INLINE)
            (database, *_) = health.check(worker, Settings(dsn=dsn)).checks
            assert database.observed == "answers", database.message
    except (psycopg.Error, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    return deviation(observer, queued) or deviation(observer, inline)


def values_of(row: tuple[Any, ...]) -> list[str]:
    """Returns the values of a setting to try: all of an enum, both ends of a range, the other value of a switch."""
    _, kind, current, choices, least, most = row
    if kind == "bool":
        return ["off" if current == "on" else "on"]
    return choices if kind == "enum" else [least, most]


def settable(conn: Connection, name: str, value: str) -> bool:
    """Returns whether this server accepts the value."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("SELECT pg_catalog.set_config(%s, %s, true)", [name, value])
    except psycopg.Error:
        return False
    return True


@pytest.mark.parametrize("kind", ["bool", "enum", "integer", "real"])
def test_no_setting_of_a_session_matters(database: str, observer: Connection, kind: str) -> None:
    """The log is the same under every boolean, enum and number that pg_settings knows, in writer and worker."""
    with session(database, {}) as conn:
        rows = conn.execute(SETTINGS, [kind, EXCLUDED]).fetchall()
        given = [(row[0], value) for row in rows for value in values_of(row)]
        given = [pair for pair in given if pair not in TOO_SMALL and settable(conn, *pair)]
    assert len(given) > 20
    # Values of one setting are neighbours in the list, so a group takes every n-th of them.
    groups = [dict(given[start :: len(given) // 4]) for start in range(len(given) // 4)]
    problems = [(group, try_settings(database, observer, group, group)) for group in groups]
    assert [(group, problem) for group, problem in problems if problem] == []


@pytest.mark.parametrize(("name", "value"), TEXTS)
def test_no_text_setting_of_a_session_matters(database: str, observer: Connection, name: str, value: str) -> None:
    """The log is the same under any time zone, date format, encoding and search_path."""
    assert try_settings(database, observer, {name: value}, {name: value}) is None


BOOLEANS = (
    "standard_conforming_strings",
    "escape_string_warning",
    "array_nulls",
    "transform_null_equals",
    "quote_all_identifiers",
    "check_function_bodies",
    "row_security",
    "jit",
    *(f"enable_{what}" for what in ("seqscan", "indexscan", "indexonlyscan", "bitmapscan", "nestloop", "hashjoin")),
    *(f"enable_{what}" for what in ("mergejoin", "sort", "material", "memoize", "partition_pruning", "hashagg")),
)
CHOICES: dict[str, list[str]] = {
    "IntervalStyle": ["postgres", "postgres_verbose", "sql_standard", "iso_8601"],
    "bytea_output": ["hex", "escape"],
    "backslash_quote": ["on", "off", "safe_encoding"],
    "xmlbinary": ["base64", "hex"],
    "plpgsql.variable_conflict": ["error", "use_variable", "use_column"],
    "plan_cache_mode": ["auto", "force_custom_plan", "force_generic_plan"],
    "default_transaction_isolation": ["serializable", "repeatable read", "read committed"],
    "default_toast_compression": ["pglz"],
    "session_replication_role": ["origin", "replica", "local"],
    "synchronous_commit": ["on", "off", "local"],
    "extra_float_digits": ["-15", "0", "3"],
    **{name: ["on", "off"] for name in BOOLEANS},
}
for text_name, text_value in TEXTS:
    CHOICES.setdefault(text_name, []).append(text_value)
SESSIONS = st.lists(st.sampled_from(sorted(CHOICES)), max_size=12, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: st.sampled_from(CHOICES[name]) for name in names})
)


@examples(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(writer=SESSIONS, worker=SESSIONS)
def test_no_combination_of_settings_matters(
    database: str, observer: Connection, writer: Values, worker: Values
) -> None:
    """The log is the same under many settings at once, other ones in the writer than in the worker."""
    assert try_settings(database, observer, writer, worker) is None
