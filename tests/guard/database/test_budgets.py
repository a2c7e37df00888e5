"""Budgets: what capture and guard cost, counted in work and not in time, as in tests/database/test_budget.py.

Each budget is the most that was measured on PostgreSQL 15, 16 and 18, and a tenth more. It is for a changed row, the
UPDATE included.
"""

from typing import Any

import pytest

from tests.support.queries import Connection

ROWS = 1_000
UPDATE = "UPDATE claims SET status = 'paid', amount = amount + 1 WHERE id"
RUN = """
    CREATE FUNCTION run(statement text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; END $$
"""
RECORD = """
    SELECT pgaudit.record(jsonb_agg(jsonb_build_object(
        'id', gen_random_uuid(), 'action', 'claim.paid', 'outcome', 'success', 'occurred_at', '2026-01-31T12:00:00Z',
        'schema_version', 1, 'actor', '{"type": "user", "id": "42"}'::jsonb,
        'targets', jsonb_build_array(jsonb_build_object('type', 'claim', 'id', id::text))))) FROM claims WHERE id
"""
CHECK = "SET CONSTRAINTS ALL IMMEDIATE"
ONE, ALL = "= 7", "> 0"
NONE = {"WAL Records": 0.0, "WAL Bytes": 0.0, "Shared Hit Blocks": 0.0}
UPDATED = {"WAL Records": 3.3, "WAL Bytes": 235}  # the claim's new version and its index entry; 2 of a full page
CAPTURED = {
    # Beside them the job, which has the event, and its entry in the primary key.
    ONE: {"WAL Records": 5.5, "WAL Bytes": 1_210, "Shared Hit Blocks": 21},
    ALL: {"WAL Records": 5.5, "WAL Bytes": 1_210, "Shared Hit Blocks": 13.4},
}
# Pages of the catalog are most of those for a single row: the columns of the table, and who owns the table of notes.
NOTED = {ONE: UPDATED | {"Shared Hit Blocks": 24}, ALL: UPDATED | {"Shared Hit Blocks": 8.8}}
# For each event: its job, and that its id is neither in the log nor in another job.
CHECKED = {ONE: NONE | {"Shared Hit Blocks": 20}, ALL: NONE | {"Shared Hit Blocks": 5.6}}


@pytest.fixture
def claims(owner: Connection) -> Connection:
    """A session of the owner, in a transaction, with a thousand claims and a function that runs a statement."""
    owner.execute(RUN)
    owner.execute("INSERT INTO claims (id, amount) SELECT n, 100 FROM generate_series(1, %s) n", [ROWS])
    owner.execute("VACUUM ANALYZE claims")
    return owner


def work_of(conn: Connection, *statements: str) -> list[dict[str, float]]:
    """Returns what each statement of a transaction writes and reads, with its triggers; it has run before."""
    for _ in range(6):
        with conn.transaction(force_rollback=True):
            for statement in statements:
                conn.execute("SELECT run(%s)", [statement])
    with conn.transaction(force_rollback=True):
        return [measured(conn, statement) for statement in statements]


def measured(conn: Connection, statement: str) -> dict[str, float]:
    """Returns the WAL and the pages of a statement. Images of pages after a checkpoint are not caused by it."""
    explain = "EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT JSON) SELECT run(%s)"
    ((plans,),) = conn.execute(explain, [statement]).fetchall()
    plan: dict[str, Any] = plans[0]["Plan"]
    return {name: plan[name] - (plan["WAL FPI"] * 8_192 if name == "WAL Bytes" else 0) for name in NONE}


def exceeded(work: dict[str, float], budget: dict[str, float], rows: str) -> dict[str, float]:
    """Returns the amounts for a row that are above the budget."""
    count = 1 if rows == ONE else ROWS
    return {name: amount / count for name, amount in work.items() if amount / count > budget[name]}


@pytest.mark.parametrize("rows", [ONE, ALL])
def test_a_captured_row_keeps_its_budget(claims: Connection, rows: str) -> None:
    """It writes one job and its index entry beside the row."""
    claims.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    (update,) = work_of(claims, UPDATE + rows)
    assert exceeded(update, CAPTURED[rows], rows) == {}


@pytest.mark.parametrize("rows", [ONE, ALL])
def test_a_guarded_row_keeps_its_budget(claims: Connection, rows: str) -> None:
    """What it notes is in no WAL, and the check at commit finds notes and events by their indexes."""
    claims.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}')")
    update, _, check = work_of(claims, UPDATE + rows, RECORD + rows, CHECK)
    assert exceeded(update, NOTED[rows], rows) == {}
    assert exceeded(check, CHECKED[rows], rows) == {}
