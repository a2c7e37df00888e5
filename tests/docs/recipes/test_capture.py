"""The commands and statements of the page on capture."""

import json
import re

import pytest

from docs.code import capture_
from pgaudit.guard import captures
from tests.docs.printed import blocks, recipe, statements
from tests.docs.recipes.site import Site, printed_output

PAGE = "operate/capture.md"
TABLES = """
    GRANT CREATE ON SCHEMA public TO claims_audit;
    SET ROLE claims_audit;
    CREATE TABLE claims (id bigint PRIMARY KEY, status text, iban text);
    CREATE TABLE payments (id bigint PRIMARY KEY);
    INSERT INTO claims VALUES (7, 'open', 'DE89370400440532013000');
    GRANT SELECT, UPDATE ON claims TO claims_app
"""


@pytest.fixture
def shop(site: Site) -> Site:
    """The installation; its owner has a table of claims, which the application may change."""
    with site.connect() as superuser:
        superuser.execute(TABLES)
    return site


def test_a_table_is_captured_as_printed(shop: Site) -> None:
    """And the event is the one of the page; ids and times are left out there."""
    added = recipe(PAGE, "pgaudit capture add claims")
    assert shop.session(added, "claims_audit").splitlines() == printed_output(added)
    (change,) = statements(recipe(PAGE, "UPDATE claims SET status"))
    with shop.connect("claims_app") as app:
        app.execute("SET application_name = 'psql'")
        app.execute(change.encode())
    (printed,) = blocks(f"docs/{PAGE}", "json")
    with shop.connect() as superuser:
        (event,) = superuser.execute(
            "SELECT event FROM pgaudit.audit_jobs WHERE event->>'action' = 'claim.updated'"
        ).fetchone() or ({},)
    assert {name: event[name] for name in json.loads(printed)} == json.loads(printed)


def test_it_is_listed_paused_renewed_and_removed_as_printed(shop: Site) -> None:
    """As the owner, who may look, too."""
    shop.session(recipe(PAGE, "pgaudit capture add claims"), "claims_audit")
    renewed = recipe(PAGE, "pgaudit capture renew claims")
    assert shop.session(renewed, "claims_audit").splitlines() == printed_output(renewed)
    session = recipe(PAGE, "pgaudit capture list")
    printed = [re.sub(" +", " ", line).rstrip() for line in shop.session(session, "claims_audit").splitlines()]
    assert printed == [re.sub(" +", " ", line).rstrip() for line in printed_output(session)]


def test_python_does_the_same(shop: Site) -> None:
    """The program of the page; a table that is broken is named."""
    with shop.connect("claims_audit") as owner:
        with owner.transaction():
            capture_.begin(owner)
        assert [capture.mask for capture in captures.list_captures(owner)] == [["iban"]]
        assert capture_.broken(owner) == []
        owner.execute("ALTER TABLE payments DISABLE TRIGGER USER")
        assert capture_.broken(owner)[0].startswith("public.payments has a trigger that does not always fire")
