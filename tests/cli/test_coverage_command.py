"""``pgaudit coverage``: for people, for programs, and as a check of an application's CI."""

import json

import psycopg
import pytest

from tests.support.command_line import Run

TABLES = """
    CREATE TABLE claims (id bigint PRIMARY KEY);
    CREATE TABLE payments (id bigint PRIMARY KEY);
    CREATE TABLE notes (id bigint PRIMARY KEY);
    SELECT pgaudit.add_capture('claims', 'claim', '{id}');
    SELECT pgaudit.add_guard('payments', 'payment', '{id}', 'warn');
    INSERT INTO payments VALUES (1), (2);
    UPDATE pgaudit.captured_table SET added_at = added_at - interval '8 days';
    UPDATE pgaudit.guarded_table SET added_at = added_at - interval '8 days';
"""


@pytest.fixture
def run_in_shop(run: Run, dsn: str) -> Run:
    """Runs ``pgaudit``; claims are captured, payments guarded, notes neither; two payments passed without an event."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TABLES)
    return run


def test_people_see_tables_gaps_and_what_passed(run_in_shop: Run) -> None:
    """Without a requirement the command succeeds."""
    shown = run_in_shop("coverage", COLUMNS="200")
    assert shown.returncode == 0, shown.stderr
    assert "guarded (warn)" in shown.stdout
    assert "neither captured nor guarded: public.notes\n" in shown.stdout
    assert "no event for 7 days: public.claims, public.payments\n" in shown.stdout
    assert "rows changed without an event in the last day: 2; the latest" in shown.stdout
    assert "payment:1" in shown.stdout
    assert (
        "no event for 0.5 days: public.claims\n"
        in run_in_shop("coverage", "--table", "claims", "--silent-after", "0.5").stdout
    )


def test_programs_get_one_document(run_in_shop: Run) -> None:
    """With the tables that were chosen."""
    told = json.loads(run_in_shop("coverage", "--json", "--except", "claims").stdout)
    assert [table["table_name"] for table in told["tables"]] == ["notes", "payments"]
    assert (told["percentage"], told["uncovered"], told["silent"]) == (50.0, ["public.notes"], ["public.payments"])
    assert (told["unrecorded_changes"], sorted(told["latest"][0]["targets"])) == (2, ["payment:1", "payment:2"])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--require any", 1),
        ("--require any --except notes", 0),
        ("--require any --except not?s --except nothing", 0),
        ("--require captured --table claims", 0),
        ("--require guarded --table claims", 1),
        ("--require guarded --table public.pay* --table claims", 1),
        ("--require guarded --table public.pay*", 0),
        ("--fail-under 66", 0),
        ("--fail-under 67", 1),
        ("--fail-under 34 --require guarded", 1),
        ("--fail-under 33 --require guarded", 0),
        ("--require any --table claim", 2),
        ("--require any --except *", 2),
        ("--fail-under 0 --except *", 2),
        ("--except *", 0),
        ("--fail-under 101", 2),
    ],
)
def test_ci_fails_when_a_table_is_not_as_required(run_in_shop: Run, arguments: str, code: int) -> None:
    """Also when a pattern matches no table, or all are left out, because a check of nothing would always succeed."""
    assert run_in_shop("coverage", *arguments.split()).returncode == code


def test_what_passed_is_that_of_the_chosen_tables(run_in_shop: Run) -> None:
    """Not that of the others."""
    of_claims = json.loads(run_in_shop("coverage", "--json", "--table", "claims").stdout)
    assert (of_claims["unrecorded_changes"], of_claims["latest"]) == (0, [])
    of_payments = json.loads(run_in_shop("coverage", "--json", "--table", "pay*").stdout)
    assert (of_payments["unrecorded_changes"], len(of_payments["latest"])) == (2, 1)


def test_the_refusal_names_the_tables(run_in_shop: Run, dsn: str) -> None:
    """On standard error, in one line; what is paused is not guarded."""
    refused = run_in_shop("coverage", "--require", "any", "--json")
    assert (
        refused.stderr
        == "pgaudit: 66.7 % of the tables are captured or guarded, but 100 % must be. These are not: public.notes\n"
    )
    assert json.loads(refused.stdout)["uncovered"] == ["public.notes"]
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT pgaudit.pause_guard('payments', true)")
    assert "are not: public.payments\n" in run_in_shop("coverage", "--require", "guarded", "--table", "payments").stderr
