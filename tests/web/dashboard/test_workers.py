"""The page of the workers."""

import psycopg

from pgaudit import Settings
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from tests.support.browser import browser_of
from tests.support.jobs import (
    date_back_heartbeat_and_commit,
    fetch_and_commit,
    persist_with_and_commit,
    queue_events,
    register_and_commit,
)
from tests.web.dashboard.someone import Someone


def test_workers_are_alive_or_silent(dsn: str, settings: Settings, conn: psycopg.Connection) -> None:
    """Each has its heartbeat, the jobs that it runs, and what it has persisted lately."""
    alive, token = register_and_commit(conn)
    silent, _ = register_and_commit(conn)
    date_back_heartbeat_and_commit(conn, silent, "2 minutes")
    queue_events(dsn, 40)
    persist_with_and_commit(conn, token, fetch_and_commit(conn, token))
    queue_events(dsn, 2)
    fetch_and_commit(conn, token)
    with browser_of(create_app(settings, Someone())) as browser:
        page, part = browser.get("/workers").text, browser.get("/workers/live").text
    assert "<html" not in part
    for shown in (page, part):
        assert "1 of 2 alive." in shown
        row = shown[shown.index(f'data-label="Worker">{alive}<') : shown.index(f'data-label="Worker">{silent}<')]
        assert "alive" in row
        assert 'data-label="Active jobs">1<' in row
        assert 'data-label="Events in 15 min">40<' in row
        assert 'data-label="Events a batch">40.0<' in row
        assert "2 min" in shown


def test_without_workers_the_page_says_what_to_start(settings: Settings) -> None:
    """An empty table would not."""
    with browser_of(create_app(settings, Someone())) as browser:
        page = browser.get("/workers").text
    assert "No worker has run within the last day." in page
    assert "pgaudit worker" in page


def test_who_sees_a_part_of_the_trail_sees_no_workers(settings: Settings) -> None:
    """What workers do says how much the others record."""
    for scope in (Scope(frozenset({"north"})), Scope(query="action:x")):
        with browser_of(create_app(settings, Someone(sees=scope))) as browser:
            for path in ("/workers", "/workers/live"):
                answer = browser.get(path)
                assert answer.status_code == 403
                assert "you may see a part of it" in answer.text
