"""The page of the coverage in Chromium: tables with their marks, and a change that leads to its target."""

import psycopg
import pytest

from tests.browser.looks import check_each_look
from tests.browser.tab import Tab

pytestmark = pytest.mark.chromium

TABLES = """
    CREATE SCHEMA insurance;
    CREATE TABLE insurance.claims (id bigint PRIMARY KEY, status text);
    CREATE TABLE insurance.payments (id bigint PRIMARY KEY, amount numeric);
    CREATE TABLE insurance.policies (id bigint PRIMARY KEY);
    CREATE TABLE insurance.assessments_of_damaged_buildings_and_vehicles (id bigint PRIMARY KEY);
    CREATE TABLE insurance.refunds (id bigint PRIMARY KEY);
    SELECT pgaudit.add_capture('insurance.claims', 'claim', '{id}');
    SELECT pgaudit.add_guard('insurance.claims', 'claim', '{id}', 'abort');
    SELECT pgaudit.add_guard('insurance.payments', 'claim', '{id}', 'warn');
    SELECT pgaudit.add_capture('insurance.policies', 'policy', '{id}');
    SELECT pgaudit.add_guard('insurance.refunds', 'refund', '{id}', 'abort');
    SELECT pgaudit.pause_guard('insurance.refunds', true);
    ALTER TABLE insurance.policies DISABLE TRIGGER "0_pgaudit_capture_update";
    SET application_name = 'nightly-settlement';
    INSERT INTO insurance.payments SELECT n, 100 FROM generate_series(7, 1500) n;
    UPDATE insurance.payments SET amount = 200 WHERE id = 7;
"""


@pytest.fixture
def shop(conn: psycopg.Connection) -> psycopg.Connection:
    """A database with five tables of an application."""
    conn.autocommit = True
    for statement in TABLES.split(";\n"):
        conn.execute(statement)
    return conn


def test_the_page_shows_tables_and_leads_to_the_targets(tab: Tab, shop: psycopg.Connection) -> None:
    """In each look; the menu has the page."""
    assert shop
    tab.page.goto("/")
    tab.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Coverage").click()
    tab.page.get_by_text("1,495 rows changed without an event").wait_for()
    assert tab.page.get_by_text("2 of 5 tables are captured or guarded.").count() == 1
    for mark in ("broken", "paused, abort", "guarded, warn", "neither"):
        assert tab.page.get_by_text(mark, exact=True).count() == 1, mark
    check_each_look(tab)
    tab.page.set_viewport_size({"width": 1280, "height": 800})
    tab.page.get_by_role("link", name="claim:7", exact=True).first.click()
    tab.page.get_by_role("heading", name="claim:7").wait_for()
