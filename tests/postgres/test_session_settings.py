"""Session settings: whatever a writer's or a worker's session has set, the log holds the same."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pgaudit import AuditEvent, AuditLog, Mode, Settings, health, jobs, stats
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.postgres.trail import Connection

# Everything that a session can set and that has a type with known values.
SETTINGS = """
    SELECT name, vartype, setting, enumvals, min_val, max_val FROM pg_settings
     WHERE context IN ('user', 'superuser') AND vartype = %s AND name <> ALL (%s) ORDER BY name
"""
EXCLUDED = [
    "transaction_deferrable",  # of one transaction; their defaults are tried
    "transaction_isolation",
    "transaction_read_only",
    "default_transaction_read_only",  # nothing can be recorded
    "exit_on_error",  # ends the session with the error by which a duplicate is found
    "debug_discard_caches",  # changes time alone
]
# The least of them is too little for any function.
TOO_SMALL = {("max_stack_depth", "100")}

TIME_ZONES = ("<UTC>-167", "UTC+100", "<Z>-10", "<+00>-05:30", "Asia/Kathmandu", "America/New_York", "right/UTC", "5.5")
DATE_STYLES = [f"{style}, {order}" for style in ("ISO", "SQL", "German", "Postgres") for order in ("DMY", "MDY", "YMD")]
ENCODINGS = ("LATIN1", "SQL_ASCII", "EUC_JP", "WIN1252", "UTF8")
TEXTS = [
    *(("TimeZone", zone) for zone in TIME_ZONES),
    *(("DateStyle", style) for style in DATE_STYLES),
    *(("client_encoding", encoding) for encoding in ENCODINGS),
    *(
        ("search_path", path)
        for path in ("hostile, pg_catalog", "hostile, pgaudit", "pg_temp, hostile, pg_catalog", "")
    ),
    *(("timezone_abbreviations", names) for names in ("Australia", "India")),
    *((f"lc_{what}", "C") for what in ("messages", "monetary", "numeric", "time")),
    *((f"plpgsql.extra_{kind}", "all") for kind in ("errors", "warnings")),
    ("default_text_search_config", "pg_catalog.german"),
    ("log_statement", "all"),
]

# Objects that a session with another search_path could take for Postgres's own, or for pgaudit's.
HOSTILE = """
    CREATE SCHEMA hostile;
    CREATE TABLE hostile.audit_jobs (event jsonb, leaf_hash bytea, event_bytes integer);
    CREATE TABLE hostile.settings AS SELECT 1 AS max_event_bytes;
    CREATE TABLE hostile.log_lock ();
    CREATE VIEW hostile.log_head AS SELECT 4711::bigint AS size;
    CREATE FUNCTION hostile.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '1999-01-01'::timestamptz $$;
    CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '1999-01-01'::timestamptz $$;
    CREATE FUNCTION hostile.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT $1 $$;
    CREATE FUNCTION hostile.convert_to(text, name) RETURNS bytea LANGUAGE sql AS $$ SELECT NULL::bytea $$;
    CREATE FUNCTION hostile.length(text) RETURNS integer LANGUAGE sql AS $$ SELECT 0 $$;
    CREATE FUNCTION hostile.to_jsonb(timestamp) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"1999-01-01"'::jsonb $$;
    CREATE FUNCTION hostile.check_event(jsonb) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
    CREATE FUNCTION hostile.leaf_hash(jsonb) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$;
    CREATE FUNCTION hostile.same(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
    CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.same);
    CREATE FUNCTION hostile.joined(bytea, bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT $1 $$;
    CREATE OPERATOR hostile.|| (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = hostile.joined);
    CREATE DOMAIN hostile.uuid AS text;
"""
LOGGED = """
    SELECT index, event::text, leaf_hash, occurred_at, recorded_at, clock_timestamp() - recorded_at, conflicts_with,
           (SELECT count(*) FROM pgaudit.event_sighting s WHERE s.event_id = l.event_id)
      FROM pgaudit.audit_log l WHERE event_id = %s
"""
Values = dict[str, str]


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[str]:
    """A migrated database for all tests of this module, with a schema of impostors."""
    with fresh_database(server) as database:
        with psycopg.connect(database.dsn) as conn:
            conn.execute(HOSTILE)
        yield database.dsn


@pytest.fixture(scope="module")
def observer(database: str) -> Iterator[Connection]:
    """A session in which nothing is set."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def session(dsn: str, values: Values) -> Connection:
    """A session with those settings, in autocommit."""
    conn = psycopg.connect(dsn, autocommit=True)
    conn.execute("LOAD 'plpgsql'")
    for name, value in values.items():
        conn.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])
    return conn


def made_event() -> AuditEvent:
    """An event with all that a setting could read or print in another way."""
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
    """Does all that a worker does, its rounds included."""
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
    assert number in {worker.worker_id for worker in stats.worker_stats(conn)}
    conn.execute("SELECT pgaudit.unregister_worker(%s)", [token])
    assert jobs.listing(conn, "waiting") == []


def record(dsn: str, values: Values, event: AuditEvent, mode: Mode = Mode.QUEUE) -> None:
    """Records an event in a session with those settings."""
    with session(dsn, values) as conn, conn.transaction():
        AuditLog(Settings(dsn=dsn, mode=mode)).record(conn, event)


def deviation(observer: Connection, made: AuditEvent, seen: int) -> str | None:
    """What of the event is not in the log as it should be; None when all is."""
    found = observer.execute(LOGGED, [made.id]).fetchall()
    if len(found) != 1:
        return f"{len(found)} rows"
    index, text, leaf_hash, occurred_at, recorded_at, age, conflict, sightings = found[0]
    stored: dict[str, Any] = json.loads(text)
    expected = {
        "sightings": (sightings, seen),
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
        (f"{what}: {is_} instead of {should}" for what, (is_, should) in expected.items() if is_ != should), None
    )


def try_settings(dsn: str, observer: Connection, writer: Values, worker: Values) -> str | None:
    """Takes events through the queue, twice, and inline, twice, under those settings; says what went wrong."""
    queued, inline = made_event(), made_event()
    try:
        for _ in range(2):
            record(dsn, writer, queued)
            with session(dsn, worker) as conn:
                work(conn)
            record(dsn, writer, inline, Mode.INLINE)
        with session(dsn, worker) as conn:
            refusal = health.check(conn, Settings(dsn=dsn)).checks[0]
    except (psycopg.Error, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    if refusal.observed != "answers":
        return refusal.message
    return deviation(observer, queued, 1) or deviation(observer, inline, 1)


def values_of(row: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
    """The values of a setting to try: all of an enum, both ends of a range, and what it is not."""
    name, kind, current, choices, least, most = row
    if kind == "bool":
        yield name, "off" if current == "on" else "on"
    elif kind == "enum":
        yield from ((name, choice) for choice in choices if choice != current)
    else:
        yield from ((name, end) for end in (least, most) if (name, end) not in TOO_SMALL and end != current)


def settable(conn: Connection, name: str, value: str) -> bool:
    """Whether this server, as it was built and configured, takes the value."""
    try:
        conn.execute(
            "BEGIN; SELECT set_config(%s, %s, true); ROLLBACK".replace("%s", "{}").format(*map(quoted, (name, value)))
        )
    except psycopg.Error:
        conn.execute("ROLLBACK")
        return False
    return True


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize("kind", ["bool", "enum", "integer", "real"])
def test_no_setting_of_a_session_matters(database: str, observer: Connection, kind: str) -> None:
    """Every one that pg_settings knows, in the session of the writer and of the worker."""
    with session(database, {}) as conn:
        rows = conn.execute(SETTINGS, [kind, EXCLUDED]).fetchall()
        given = [pair for row in rows for pair in values_of(row) if settable(conn, *pair)]
    assert len(given) > 20
    problems = {pair: try_settings(database, observer, dict([pair]), dict([pair])) for pair in given}
    assert {pair: problem for pair, problem in problems.items() if problem} == {}


@pytest.mark.parametrize(("name", "value"), TEXTS)
def test_no_text_of_a_setting_matters(database: str, observer: Connection, name: str, value: str) -> None:
    """Time zones that look like others, formats of dates, encodings, and a path to impostors."""
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
    """Settings of the writer and others of the worker, many at once."""
    assert try_settings(database, observer, writer, worker) is None
