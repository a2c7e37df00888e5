"""Processors on the page of the streams, and in the metrics."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from pgaudit import Settings, processors
from pgaudit.web import create_app
from tests.support.browser import browser_of
from tests.support.http import client_of
from tests.support.streams import append
from tests.web.dashboard.someone import EVIL, Someone

LOCK = "LOCK TABLE pgaudit.audit_log IN ACCESS EXCLUSIVE MODE"


@pytest.fixture
def mail(dsn: str) -> Iterator[psycopg.Connection]:
    """A processor with two jobs that wait, and one event that it has not got to."""
    append(dsn, 3)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT pgaudit.register_processor('mail', 'action:claim.*', 0, 2, NULL, 20)")
        conn.execute("SELECT pgaudit.dispatch_events('mail', 0, 2, '{0,1}', '{}', 1, '')")
        yield conn


def page(dsn: str) -> str:
    """Returns the page of the streams."""
    with browser_of(create_app(Settings(dsn=dsn), Someone())) as browser:
        return browser.get("/streams").text


def test_the_page_has_the_processors(dsn: str, mail: psycopg.Connection) -> None:
    """With their lag and jobs; why one was paused is text."""
    shown = page(dsn)
    assert "1 function of the application gets a job for each event" in shown
    assert 'data-label="Behind the log">1 event, ' in shown
    assert 'data-label="Waiting">2</td>' in shown
    processors.pause(mail, "mail", EVIL)
    paused = page(dsn)
    assert "Paused by postgres: &lt;img" in paused
    assert "<img src=x" not in paused


def test_the_error_of_a_function_is_not_on_the_page(dsn: str, mail: psycopg.Connection) -> None:
    """It may quote what the viewer may not see; the page says where it is."""
    mail.execute("SELECT pgaudit.pause_stream('mail', 'failing', 'ValueError: DE89 3704')")
    shown = page(dsn)
    assert "pgaudit processors show mail has the last error" in shown
    assert "DE89" not in shown


def test_without_a_processor_the_page_has_no_table_of_them(dsn: str) -> None:
    """Most applications have none."""
    assert "Processors" not in page(dsn)


def test_metrics_have_each_processor(dsn: str, mail: psycopg.Connection) -> None:
    """Its lag, its jobs by state, and whether it is paused."""
    processors.pause(mail, "mail")
    with client_of(create_app(Settings(dsn=dsn))) as client:
        told = figures(client)
    assert told.pop('pgaudit_processor_lag_seconds{processor="mail"}') > 0
    assert told == {
        'pgaudit_processor_lag_events{processor="mail"}': 1,
        'pgaudit_processor_jobs{processor="mail",state="waiting"}': 2,
        'pgaudit_processor_jobs{processor="mail",state="delayed"}': 0,
        'pgaudit_processor_jobs{processor="mail",state="running"}': 0,
        'pgaudit_processor_jobs{processor="mail",state="failed"}': 0,
        'pgaudit_processor_paused{processor="mail"}': 1,
    }


def figures(client: httpx.Client) -> dict[str, float]:
    """Returns the figures of the processor by their names and labels."""
    lines = client.get("/metrics").raise_for_status().text.splitlines()
    named = (line.rpartition(" ") for line in lines if 'processor="mail"' in line)
    return {name: float(value) for name, _, value in named}


def test_the_lag_does_not_wait_for_a_partition_that_is_being_detached(dsn: str, mail: psycopg.Connection) -> None:
    """It is the age of a batch, and no look at the log."""
    with psycopg.connect(dsn) as other:
        other.execute(LOCK)
        mail.execute("SET lock_timeout = '2s'")
        (stats,) = processors.listed(mail)
    assert (stats.lag_events, stats.lag_seconds > 0) == (1, True)
