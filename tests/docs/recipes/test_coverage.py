"""The commands and statements of the page on coverage."""

import re

import pytest

from docs.code.coverage_ import uncovered as uncovered_in_python
from pgaudit.guard import coverage
from tests.docs.printed import commands, recipe, statements
from tests.docs.recipes.site import Site, printed_output
from tests.support.jobs import persist_and_commit

PAGE = "operate/coverage.md"
TABLES = """
    CREATE TABLE claims (id bigint PRIMARY KEY, status text);
    CREATE TABLE payments (id bigint PRIMARY KEY);
    CREATE TABLE notes (id bigint PRIMARY KEY);
    SELECT pgaudit.add_capture('claims', 'claim', '{id}');
    SELECT pgaudit.add_guard('payments', 'payment', '{id}', 'warn');
    GRANT ALL ON payments TO claims_app;
    INSERT INTO claims VALUES (1, 'open'), (2, 'open'), (3, 'open');
    DELETE FROM claims WHERE id = 3;
    ANALYZE claims;
"""
CHANGING = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ|\b\d{3,}\b| +")


@pytest.fixture
def shop(site: Site) -> Site:
    """The installation, with the tables of the page, and a payment without an event."""
    with site.connect() as superuser:
        superuser.execute("GRANT CREATE ON SCHEMA public TO claims_audit; SET ROLE claims_audit")
        for statement in TABLES.split(";\n"):
            superuser.execute(statement.encode())
        superuser.execute("RESET ROLE")
        persist_and_commit(superuser)
    with site.connect("claims_app") as app:
        app.execute("SET application_name = 'nightly'")
        app.execute("INSERT INTO payments VALUES (7)")
        app.execute("SELECT pg_stat_force_next_flush()")
    return site


def test_the_report_is_printed_as_on_the_page(shop: Site) -> None:
    """Except for times, the number of the transaction, and the widths of columns."""
    block = recipe(PAGE, "neither captured nor guarded")
    printed = [CHANGING.sub(" ", line).strip() for line in shop.session(block, "claims_dba").splitlines()]
    assert printed == [CHANGING.sub(" ", line).strip() for line in printed_output(block)]


def test_ci_requires_what_the_page_says(shop: Site) -> None:
    """The first command succeeds, the second one is refused as printed."""
    block = recipe(PAGE, "--require any")
    first, second = commands(block)
    assert shop.attempt(first, "claims_dba").returncode == 0
    refused = shop.attempt(second, "claims_dba")
    assert (refused.returncode, refused.stderr.splitlines()) == (1, printed_output(block))


def test_statements_find_what_passed_and_what_is_uncovered(shop: Site) -> None:
    """As a reader."""
    passed, uncovered = statements(recipe(PAGE, "FROM pgaudit.unrecorded_change"))
    with shop.connect("claims_dba") as reader:
        assert [row[4] for row in reader.execute(passed.encode()).fetchall()] == [["payment:7"]]
        assert reader.execute(uncovered.encode()).fetchall() == [("public", "notes")]
        assert uncovered_in_python(reader) == ["public.notes"]
        assert coverage.report(reader).unrecorded_changes == 1
