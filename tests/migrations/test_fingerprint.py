"""The fingerprint: each change by hand is named, with its remedy."""

# ruff: noqa: E501, ISC004 - a sentence is compared as a whole

import json
from typing import Any

import psycopg
import pytest

from pgaudit._schema import fingerprint
from pgaudit._schema.fingerprint import expected
from pgaudit.testing import programs
from tests.support.partitions import add_partitions

STALE = "migrations/fingerprint.json is not of these migrations: run make fingerprint"
REPAIR = "run `pgaudit migrate --repair`"
SWALLOW = """
    CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER swallow BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION public.swallow()
"""
# With these, a function whose body is replaced looks as it did.
SHADOW = """
    CREATE SCHEMA shadow;
    CREATE TABLE shadow.body AS SELECT prosrc FROM pg_proc WHERE oid = 'pgaudit.record'::regproc;
    CREATE FUNCTION shadow.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS 'SELECT $2';
    CREATE FUNCTION shadow.md5(body text) RETURNS text LANGUAGE sql AS $$
        SELECT pg_catalog.md5(CASE body WHEN 'BEGIN END' THEN (SELECT prosrc FROM shadow.body) ELSE body END)
    $$
"""
PARTITION = (
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'pgaudit.audit_log'::regclass ORDER BY 1"
)
# Changes by hand, and the beginning of the sentence about each difference.
ATTACKS = [
    (
        "CREATE OR REPLACE FUNCTION pgaudit.record(events jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER "
        "SET search_path = pgaudit, pg_temp AS 'BEGIN END'",
        [f"function pgaudit.record(jsonb) differs in its body: {REPAIR}"],
    ),
    (
        "ALTER FUNCTION pgaudit.record RESET ALL",
        [
            f"function pgaudit.record(jsonb) differs in its settings (nothing, expected search_path=pgaudit, pg_temp): {REPAIR}"
        ],
    ),
    (
        "ALTER FUNCTION pgaudit.record SECURITY INVOKER",
        [f"function pgaudit.record(jsonb) differs in its SECURITY DEFINER (False, expected True): {REPAIR}"],
    ),
    (
        "ALTER FUNCTION pgaudit.record OWNER TO t_stranger",
        [
            "function pgaudit.record(jsonb) belongs to t_stranger, expected postgres: "
            "ALTER FUNCTION pgaudit.record(jsonb) OWNER TO postgres",
        ],
    ),
    ("DROP FUNCTION pgaudit.record", [f"function pgaudit.record(jsonb) is missing: {REPAIR}"]),
    (
        "CREATE FUNCTION pgaudit.helper() RETURNS void LANGUAGE sql AS ''; REVOKE ALL ON FUNCTION pgaudit.helper FROM PUBLIC",
        ["function pgaudit.helper() is not one of pgaudit's: DROP FUNCTION pgaudit.helper()"],
    ),
    (
        SWALLOW.format("pgaudit.audit_jobs"),
        ["trigger swallow on pgaudit.audit_jobs is not one of pgaudit's: DROP TRIGGER swallow ON pgaudit.audit_jobs"],
    ),
    (
        "ALTER TABLE pgaudit.audit_log DISABLE TRIGGER append_only_truncate",
        [
            "trigger append_only_truncate on pgaudit.audit_log is disabled, expected ALWAYS: "
            "ALTER TABLE pgaudit.audit_log ENABLE ALWAYS TRIGGER append_only_truncate",
        ],
    ),
    (
        "ALTER TABLE pgaudit.batch ENABLE TRIGGER ALL",
        [
            "trigger {trigger} on pgaudit.batch is enabled as origin, expected ALWAYS: ALTER TABLE pgaudit.batch ENABLE ALWAYS"
        ],
    ),
    (
        "DROP TRIGGER append_only_truncate ON pgaudit.audit_log",
        ["trigger append_only_truncate on pgaudit.audit_log is missing: CREATE TRIGGER append_only_truncate"],
    ),
    (
        "CREATE RULE swallow AS ON INSERT TO pgaudit.audit_jobs DO INSTEAD NOTHING",
        ["rule swallow on pgaudit.audit_jobs is not one of pgaudit's: DROP RULE swallow ON pgaudit.audit_jobs"],
    ),
    (
        "ALTER TABLE pgaudit.audit_jobs NO INHERIT pgaudit.procrastinate_jobs",
        [
            "table pgaudit.audit_jobs inherits from nothing, expected pgaudit.procrastinate_jobs: "
            "ALTER TABLE pgaudit.audit_jobs INHERIT pgaudit.procrastinate_jobs",
        ],
    ),
    (
        "CREATE POLICY hide ON pgaudit.audit_log USING (false); ALTER TABLE pgaudit.audit_log ENABLE ROW LEVEL SECURITY",
        [
            "table pgaudit.audit_log differs in its row security (True, expected False)",
            "policy hide on pgaudit.audit_log is not one of pgaudit's: DROP POLICY hide ON pgaudit.audit_log",
        ],
    ),
    (
        "ALTER TABLE pgaudit.audit_jobs SET UNLOGGED",
        ["table pgaudit.audit_jobs differs in its persistence (u, expected p)"],
    ),
    (
        "ALTER TABLE pgaudit.batch OWNER TO t_stranger",
        ["table pgaudit.batch belongs to t_stranger, expected postgres: ALTER TABLE pgaudit.batch OWNER TO postgres"],
    ),
    (
        "ALTER TABLE pgaudit.job_error ALTER message DROP NOT NULL",
        [
            "column message of pgaudit.job_error is text, expected text NOT NULL: compare it with `pgaudit migrate --sql`"
        ],
    ),
    (
        "DROP INDEX pgaudit.batch_persisted_idx",
        ["index pgaudit.batch_persisted_idx of pgaudit.batch is missing, expected CREATE INDEX batch_persisted_idx"],
    ),
    (
        "CREATE OR REPLACE VIEW pgaudit.log_head AS SELECT 0::bigint AS size",
        [f"view pgaudit.log_head differs in its definition: {REPAIR}"],
    ),
    (
        "GRANT INSERT, SELECT ON pgaudit.job_error TO PUBLIC",
        [
            "table pgaudit.job_error: PUBLIC has the right INSERT, SELECT: REVOKE INSERT, SELECT ON TABLE pgaudit.job_error FROM PUBLIC"
        ],
    ),
    (
        "GRANT UPDATE (event) ON pgaudit.audit_log TO t_stranger",
        [
            "table pgaudit.audit_log, column event: t_stranger has the right UPDATE: "
            "REVOKE UPDATE (event) ON TABLE pgaudit.audit_log FROM t_stranger",
        ],
    ),
    (
        "GRANT EXECUTE ON FUNCTION pgaudit.record TO PUBLIC",
        [
            "function pgaudit.record(jsonb): PUBLIC has the right EXECUTE: REVOKE EXECUTE ON FUNCTION pgaudit.record(jsonb) FROM PUBLIC"
        ],
    ),
    (
        "GRANT CREATE ON SCHEMA pgaudit TO t_stranger",
        ["schema pgaudit: t_stranger has the right CREATE: REVOKE CREATE ON SCHEMA pgaudit FROM t_stranger"],
    ),
]


def test_the_fingerprint_is_that_of_these_migrations(conn: psycopg.Connection[Any]) -> None:
    """A fresh installation has no difference, and its catalog is the one in the file."""
    assert fingerprint.differences(conn) == [], STALE
    version = int(programs.version())
    found = expected.merged({version: expected.catalog(fingerprint.read(conn))})
    assert json.dumps(found, sort_keys=True) == json.dumps(of_version(version, expected.load()), sort_keys=True), STALE


def of_version(version: int, value: Any) -> Any:
    """Returns the expected catalog for a version of Postgres."""
    (value,) = expected.candidates(value, version)
    return {key: of_version(version, inner) for key, inner in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize(("attack", "sentences"), ATTACKS)
def test_each_change_by_hand_is_named(stranger: psycopg.Connection[Any], attack: str, sentences: list[str]) -> None:
    """Each difference is named with its object and its remedy."""
    stranger.execute(attack)
    found = fingerprint.differences(stranger)
    for sentence in sentences:
        beginning, _, rest = sentence.partition("{trigger}")
        assert any(difference.startswith(beginning) and rest in difference for difference in found), found
    assert len(found) == len(sentences) or "{trigger}" in sentences[0], found


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (
            "ALTER TABLE {} ENABLE TRIGGER append_only",
            "trigger append_only on {} is enabled as origin, expected ALWAYS",
        ),
        ("DROP TRIGGER append_only_truncate ON {}", "trigger append_only_truncate on {} is missing"),
        (SWALLOW, "trigger swallow on {} is not one of pgaudit's"),
        ("CREATE RULE swallow AS ON UPDATE TO {} DO INSTEAD NOTHING", "rule swallow on {} is not one of pgaudit's"),
        ("GRANT DELETE ON {} TO t_stranger", "table {}: t_stranger has the right DELETE"),
        ("ALTER TABLE {} SET UNLOGGED", "partition {} differs in its persistence"),
    ],
)
def test_changes_of_a_single_partition_are_named(stranger: psycopg.Connection[Any], attack: str, sentence: str) -> None:
    """Each partition must be guarded as the log is."""
    (partition,) = stranger.execute(PARTITION).fetchone() or ("",)
    stranger.execute(attack.format(partition))
    (found,) = fingerprint.differences(stranger)
    assert found.startswith(sentence.format(partition))


def test_functions_before_those_of_postgres_hide_nothing(conn: psycopg.Connection[Any]) -> None:
    """The owner of the database can put a schema before ``pg_catalog`` in each session, with functions that lie."""
    conn.execute(SHADOW)
    conn.execute("SET search_path = shadow, pg_catalog")
    conn.execute(ATTACKS[0][0])
    assert fingerprint.differences(conn) == ATTACKS[0][1]


def test_a_missing_partition_in_the_middle_is_named(conn: psycopg.Connection[Any]) -> None:
    """Old partitions may be detached, but none between others."""
    add_partitions(conn, 4)
    names = [name for (name,) in conn.execute(PARTITION.replace("BY 1", "BY inhrelid")).fetchall()]
    conn.execute(f"ALTER TABLE pgaudit.audit_log DETACH PARTITION {names[0]}")
    assert [found for found in fingerprint.differences(conn) if "no partition" in found] == []
    conn.execute(f"ALTER TABLE pgaudit.audit_log DETACH PARTITION {names[2]}")
    (found,) = [found for found in fingerprint.differences(conn) if "no partition" in found]
    assert found.startswith("table pgaudit.audit_log has no partition for the indexes from")


def test_a_missing_schema_is_one_difference(empty_dsn: str) -> None:
    """Without the schema there is one sentence."""
    with psycopg.connect(empty_dsn) as conn:
        assert fingerprint.differences(conn) == ["schema pgaudit is missing: run `pgaudit migrate`"]


def test_a_version_between_two_known_ones_may_be_like_either() -> None:
    """Values that differ between versions of Postgres are kept for each of them."""
    value = expected.merged(
        {15: {"same": 1, "other": "a"}, 16: {"same": 1, "other": "b"}, 18: {"same": 1, "other": "c"}}
    )
    assert value == {"same": 1, "other": {"@15": "a", "@16": "b", "@18": "c"}}
    assert expected.candidates(value["other"], 16) == ["b"]
    assert expected.candidates(value["other"], 17) == ["b", "c"]
    assert expected.candidates(value["other"], 19) == ["c"]
