"""Which statements write, by their text."""

import pytest

from pgaudit.recording.writing import ends_transaction, may_commit, writes


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO claims VALUES (1)",
        "  \n update claims SET id = 1",
        "-- of the report\nDELETE FROM claims",
        "/* a * b / c */ /**/ MERGE INTO claims USING new ON true",
        "/* app='x' */TRUNCATE claims",
        "; COPY claims FROM '/tmp/claims'",
        "CALL approve(7)",
        "DO $$ BEGIN END $$",
        "WITH new AS (SELECT 1) INSERT INTO claims SELECT * FROM new",
        "WITH old AS (DELETE FROM claims RETURNING *) SELECT * FROM old",
        "(WITH moved AS (UPDATE claims SET id = 1 RETURNING id) SELECT id FROM moved)",
        "EXPLAIN ANALYZE UPDATE claims SET id = 1",
    ],
)
def test_a_statement_that_changes_rows_writes(statement: str) -> None:
    """By its first word behind blanks and comments, or by one inside of WITH and EXPLAIN."""
    assert writes(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "SELECT 1",
        "SELECT 'insert into'",
        "SELECT * FROM claims FOR UPDATE",
        "WITH mine AS (SELECT * FROM claims FOR UPDATE) SELECT * FROM mine FOR NO KEY UPDATE",
        "-- INSERT\nSELECT 1",
        "/* UPDATE */ SELECT 1",
        "SAVEPOINT update_claims",
        "ROLLBACK TO SAVEPOINT a",
        "CREATE TABLE updates (id int)",
        "VACUUM claims",
        "CREATE INDEX CONCURRENTLY ON claims (id)",
        "documents",
        "/* not closed INSERT",
    ],
)
def test_a_statement_that_changes_no_rows_does_not(statement: str) -> None:
    """Reading, locking, defining and maintaining."""
    assert not writes(statement)


def test_a_long_beginning_takes_no_time() -> None:
    """Blanks and comments are passed over once."""
    assert not writes("/* */ (" * 100_000 + "-" * 100_000)


def test_what_may_commit_and_what_ends_a_transaction_are_known() -> None:
    """A procedure may commit; COMMIT, ROLLBACK and ROLLBACK TO end a transaction or what followed a savepoint."""
    assert may_commit("CALL approve(7)")
    assert not may_commit("UPDATE claims SET id = 1")
    assert [
        ends_transaction(statement)
        for statement in ("ROLLBACK TO a", "commit", "PREPARE TRANSACTION 'x'", "PREPARE x AS SELECT 1", "SELECT 1")
    ] == [True, True, True, False, False]
