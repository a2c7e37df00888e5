"""The page of the coverage: the state of each table, and what passed without an event."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from pgaudit import Settings
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from tests.support.browser import Browser, browser_of
from tests.web.dashboard.someone import Someone

TABLES = """
    CREATE TABLE claims (id bigint PRIMARY KEY);
    CREATE TABLE payments (id text PRIMARY KEY);
    CREATE TABLE refunds (id text PRIMARY KEY);
    CREATE TABLE "<img src=x>" (id bigint PRIMARY KEY);
    SELECT pgaudit.add_capture('claims', 'claim', '{id}');
    SELECT pgaudit.add_guard('payments', 'payment', '{id}', 'warn');
    SELECT pgaudit.add_guard('refunds', 'refund', '{id}', 'abort');
    SELECT pgaudit.pause_guard('refunds', true);
    SET application_name = '<img src=x>';
    INSERT INTO payments VALUES ('7/8:9'), ('<img src=x>');
"""
Opened = Callable[[Someone], Browser]


@pytest.fixture
def shop(dsn: str) -> Iterator[psycopg.Connection]:
    """A session in autocommit, to a database with four tables."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TABLES)
        yield conn


@pytest.fixture
def opened(settings: Settings) -> Iterator[Opened]:
    """Opens a browser of somebody with that access."""
    with ExitStack() as stack:
        yield lambda access: stack.enter_context(browser_of(create_app(settings, access)))


def test_a_database_without_tables_is_told(browser: Browser) -> None:
    """The page says so."""
    assert "The database has no table of an application." in browser.get("/coverage").text


def test_each_table_has_its_marks(browser: Browser, shop: psycopg.Connection) -> None:
    """What is broken, paused, or neither captured nor guarded is not taken for covered."""
    shop.execute('ALTER TABLE claims DISABLE TRIGGER "0_pgaudit_capture_insert"')
    for path in ("/coverage", "/coverage/live"):
        page = browser.get(path).text
        assert "1 of 4 tables are captured or guarded." in page
        for mark in ('bad">broken', 'ok">guarded, warn', 'warn">paused, abort', 'quiet">neither'):
            assert f'<span class="badge badge-{mark}</span>' in page, mark
        assert "<img src=x" not in page


def test_changes_without_an_event_lead_to_their_targets(browser: Browser, shop: psycopg.Connection) -> None:
    """With role, application and transaction; the link is to the timeline of the target."""
    page = browser.get("/coverage").text
    assert "2 rows changed without an event" in page
    assert '<a href="/timeline/payment/7%2F8%3A9">payment:7/8:9</a>' in page
    assert f'data-label="Role">{shop.info.user}</td>' in page
    assert browser.get("/timeline/payment/7%2F8%3A9").status_code in {200, 404}


def test_who_sees_a_part_of_the_trail_sees_no_tables(opened: Opened, shop: psycopg.Connection) -> None:
    """Targets and counts are those of all tenants."""
    assert shop
    browser = opened(Someone(sees=Scope(query="action:claim.*")))
    assert [browser.get(path).status_code for path in ("/coverage", "/coverage/live")] == [403, 403]


@pytest.mark.parametrize("path", ["targets", "targets.id"])
def test_masked_targets_stay_masked(opened: Opened, shop: psycopg.Connection, path: str) -> None:
    """As they are in events."""
    assert shop
    page = opened(Someone(masked=frozenset({path, "recorded_by"}))).get("/coverage").text
    assert "7/8:9" not in page
    assert 'data-label="Role">masked</td>' in page
