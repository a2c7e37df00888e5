"""The pages of the streams: what they show, to whom, and what their forms do."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent, Settings, streams
from pgaudit.streams import positions
from pgaudit.web import create_app
from pgaudit.web.access import Action, Scope
from tests.support.browser import Browser, browser_of
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import rows_and_commit, value_and_commit
from tests.support.streams import send_all
from tests.web.dashboard.someone import EVIL, Someone

Opened = Callable[[Someone], Browser]
ALL: frozenset[Action] = frozenset({"read", "retry", "admin"})
ACTS = "SELECT event FROM pgaudit.audit_jobs WHERE starts_with(event->>'action', 'audit.stream') ORDER BY id"


@pytest.fixture
def siem(conn: psycopg.Connection, dsn: str, tmp_path: Path) -> psycopg.Connection:
    """A stream that has sent five events and has parked two, with an error that is hostile."""
    events = [AuditEvent(action="claim.approved", target=f"claim:{n}/x", data={"iban": "DE89"}) for n in range(5)]
    assert record_persist_and_commit(conn, *events) == []
    streams.add(conn, "siem", to=f"file:{tmp_path}/out", query="action:claim.*", start=0, ordered=True)
    conn.commit()
    send_all(dsn, "siem")
    parked = [{"index": 1, "target": "claim:1/x", "error": EVIL}, {"index": 3, "target": "claim:1/x", "behind": 1}]
    conn.execute("SELECT pgaudit.park('siem', %s)", [json.dumps(parked)])
    conn.commit()
    return conn


@pytest.fixture
def opened(settings: Settings) -> Iterator[Opened]:
    """Opens a browser of somebody with that access."""
    with ExitStack() as stack:
        yield lambda access: stack.enter_context(browser_of(create_app(settings, access)))


@pytest.fixture
def operator(opened: Opened) -> Browser:
    """The browser of somebody who may do everything."""
    return opened(Someone(may=ALL))


def sent(browser: Browser, act: str, **fields: str) -> str:
    """Sends a form of the stream; returns the page that it leads to."""
    answer = browser.post(f"/streams/siem/{act}", fields, page="/streams/siem")
    assert answer.status_code == 303, answer.text
    return browser.get(answer.headers["Location"]).text


def acts(conn: psycopg.Connection) -> list[dict[str, Any]]:
    """Returns the events about streams that wait for a worker."""
    return [event for (event,) in rows_and_commit(conn, ACTS)]


def test_without_a_stream_the_page_says_how_to_add_one(browser: Browser) -> None:
    """In the list; a stream that does not exist is no page."""
    assert "pgaudit stream add NAME --to URL" in browser.get("/streams").text
    assert browser.get("/streams/siem").status_code == 404
    assert browser.get("/streams/%00").status_code == 404


def test_the_list_has_each_stream_with_its_state(browser: Browser, siem: psycopg.Connection, tmp_path: Path) -> None:
    """Why it is paused or failing, how far behind, and what is parked."""
    streams.add(siem, "other", to=f"file:{tmp_path}/other?gzip=true", start=2)
    positions.pause(siem, "other", "refused", EVIL)
    siem.commit()
    for path in ("/streams", "/streams/live"):
        page = browser.get(path).text
        assert 'ok">active</span>' in page
        assert 'bad">paused</span>' in page
        assert "A worker has paused it, because the destination has refused it: &lt;img" in page
        assert "2 streams send what is in the log to other systems: 1 paused." in page
        assert re.search(r'data-label="Behind the log">3 events, [\d.]+ s</td>', page)
        assert '<a href="/streams/siem#parked">2</a>' in page
        assert "5 events in the last day" in page
        assert "<img src=x" not in page


def test_one_stream_has_its_history_and_parked_events(browser: Browser, siem: psycopg.Connection) -> None:
    """With links to the events, to the targets and to the search; nothing of an error is markup."""
    assert siem
    page = browser.get("/streams/siem").text
    assert '<a href="/events/1">1</a>' in page
    assert 'waits for <a href="/events/1">1</a>' in page
    assert '<a href="/timeline/claim/1%2Fx">claim:1/x</a>' in page
    assert 'href="/events?q=action%3Aclaim.%2A"' in page
    assert 'ok">delivered</span>' in page
    assert 'data-label="Range">0 to 4</td>' in page
    assert "&lt;img src=x onerror" in page
    assert "<img src=x" not in page
    live = browser.get("/streams/siem/live").text
    assert "Up to date" in live
    assert "<html" not in live


def test_a_long_list_of_parked_events_has_pages(browser: Browser, siem: psycopg.Connection) -> None:
    """Of fifty."""
    many = [{"index": n, "error": "too large"} for n in range(100, 170)]
    siem.execute("SELECT pgaudit.park('siem', %s)", [json.dumps(many)])
    siem.commit()
    page = browser.get("/streams/siem").text
    assert "50 of 72 shown" in page
    assert 'href="/streams/siem?after=147#parked"' in page
    assert "22 of 72 shown" in browser.get("/streams/siem?after=147").text
    assert browser.get("/streams/siem?after=x").status_code == 422


def test_a_stream_is_paused_and_resumed(operator: Browser, siem: psycopg.Connection) -> None:
    """The events about it name the user."""
    assert "Nothing is lost" in sent(operator, "pause", reason="maintenance")
    page = operator.get("/streams/siem").text
    assert "Paused by user:Ada: maintenance." in page
    assert 'action="/streams/siem/pause"' not in page
    assert "A worker tries to send at once." in sent(operator, "resume")
    assert [(act["action"], act["actor"]["id"]) for act in acts(siem)] == [
        ("audit.stream_paused", "Ada"),
        ("audit.stream_resumed", "Ada"),
    ]


def test_a_range_is_sent_again_and_stopped(operator: Browser, siem: psycopg.Connection, dsn: str) -> None:
    """The page says how far it is."""
    assert siem
    assert "The stream goes through the range again" in sent(operator, "replay", first="1", last="2")
    assert "Goes through 1 to 2 again, and is at 1: 0 %." in operator.get("/streams/siem").text
    assert "The replay is stopped" in sent(operator, "stop-replay")
    assert "There was nothing to do" in sent(operator, "stop-replay")
    sent(operator, "replay", first="1", last="2")
    send_all(dsn, "siem")
    assert 'info">replayed</span>' in operator.get("/streams/siem").text


def test_a_stream_is_set_to_another_event(operator: Browser, siem: psycopg.Connection) -> None:
    """Events of the log only."""
    assert "continues with that event" in sent(operator, "rewind", index="2")
    assert streams.get_stream(siem, "siem").next_index == 2
    refused = operator.post("/streams/siem/rewind", {"index": "99"}, page="/streams/siem")
    assert (refused.status_code, "can go on with index 0 to 5, and not with 99" in refused.text) == (422, True)


def test_parked_events_are_sent_again_or_given_up(operator: Browser, siem: psycopg.Connection) -> None:
    """One or all; giving one up needs a reason."""
    retried = "SELECT count(*) FROM pgaudit.parked WHERE retry_at IS NOT NULL"
    assert "Parked events are sent again." in sent(operator, "retry", index="1")
    assert value_and_commit(siem, retried) == 1
    assert "There was nothing to do" in sent(operator, "retry", index="77")
    assert "Parked events are sent again." in sent(operator, "retry")
    missing = operator.post("/streams/siem/discard", {"index": "1", "reason": " "}, page="/streams/siem")
    assert (missing.status_code, "Say why" in missing.text) == (422, True)
    assert "The event is discarded." in sent(operator, "discard", index="1", reason="of a test")
    assert "of a test, by user:Ada" in operator.get("/streams/siem").text
    assert acts(siem)[-1]["data"] == {"index": 1, "reason": "of a test"}


def test_a_test_shows_what_the_destination_answers(operator: Browser, siem: psycopg.Connection, tmp_path: Path) -> None:
    """On the page of the stream, also when it refuses."""
    assert siem
    answer = operator.post("/streams/siem/test", {}, page="/streams/siem")
    assert (answer.status_code, "notice-ok" in answer.text) == (200, True)
    (tmp_path / "out" / "position.json").write_text("broken")
    refused = operator.post("/streams/siem/test", {}, page="/streams/siem").text
    assert "The test has failed: " in refused
    assert "a worker may have others" in refused


@pytest.mark.parametrize(
    ("act", "fields"),
    [("rewind", {"index": "²"}), ("rewind", {}), ("replay", {"first": "1"}), ("retry", {"index": "-1"})],
)
def test_a_form_that_is_not_complete_is_refused(
    operator: Browser, siem: psycopg.Connection, act: str, fields: dict[str, str]
) -> None:
    """With a sentence."""
    assert siem
    answer = operator.post(f"/streams/siem/{act}", fields, page="/streams/siem")
    assert (answer.status_code, "An index is a whole number" in answer.text) == (422, True)
    assert operator.post("/streams/siem/vanish", {}, page="/streams/siem").status_code == 404


def test_a_form_without_its_token_is_refused(operator: Browser, siem: psycopg.Connection) -> None:
    """As any form of another site would be."""
    assert operator.get("/streams/siem").status_code == 200
    assert operator.client.post("/streams/siem/pause", data={"reason": "x"}).status_code == 403
    assert streams.get_stream(siem, "siem").state == "active"


def test_who_may_not_act_sees_no_form_and_is_refused(opened: Opened, siem: psycopg.Connection) -> None:
    """Who may retry sends parked events again, and no more."""
    assert siem
    reader, clerk = opened(Someone(may=frozenset({"read"}))), opened(Someone(may=frozenset({"read", "retry"})))
    page = reader.get("/streams/siem").text
    assert '<form method="post"' not in page.replace(' class="inline"', "")
    assert "/streams/siem/retry" in clerk.get("/streams/siem").text
    for browser, act in ((reader, "retry"), (reader, "pause"), (clerk, "pause"), (clerk, "test"), (clerk, "discard")):
        token = clerk.form_token("/streams/siem")
        assert browser.client.post(f"/streams/siem/{act}", data={"form_token": token}).status_code == 403, act


def test_who_sees_a_part_of_the_trail_sees_no_stream(opened: Opened, siem: psycopg.Connection) -> None:
    """Nor acts on one."""
    assert siem
    part = opened(Someone(may=ALL, sees=Scope(query="action:claim.*")))
    paths = ("/streams", "/streams/live", "/streams/siem", "/streams/siem/live")
    assert [part.get(path).status_code for path in paths] == [403] * 4
    token = part.form_token("/events")
    assert part.client.post("/streams/siem/pause", data={"form_token": token}).status_code == 403
    assert streams.get_stream(siem, "siem").state == "active"


def test_masked_values_of_parked_events_stay_masked(opened: Opened, siem: psycopg.Connection) -> None:
    """The error may quote them, so it is withheld."""
    assert siem
    page = opened(Someone(masked=frozenset({"data.iban", "targets"}))).get("/streams/siem").text
    assert "Withheld: it may quote values" in page
    assert "&lt;img" not in page
    assert "claim:1/x" not in page


@pytest.mark.parametrize("kind", ["refused", "failing"])
def test_what_a_destination_answers_is_withheld_from_who_sees_masked_values(
    browser: Browser, opened: Opened, siem: psycopg.Connection, kind: str
) -> None:
    """It may quote any event: in the list, in the history, for a parked event that is no longer in the log."""
    siem.execute("SELECT pgaudit.note_stream_failure('siem', 4, 5, '422: IBAN DE89', '1 minute')")
    positions.pause(siem, "siem", kind, "422: IBAN DE89")
    siem.execute("""SELECT pgaudit.park('siem', '[{"index": 99, "error": "422: IBAN DE89"}]')""")
    siem.commit()
    paths = ("/streams", "/streams/live", "/streams/siem", "/streams/siem/live")
    masked = opened(Someone(masked=frozenset({"data.iban"})))
    for path in paths:
        assert "IBAN DE89" in browser.get(path).text
        page = masked.get(path).text
        assert "IBAN" not in page
        assert "Withheld: it may quote values that you may not see." in page


def test_what_a_person_has_written_is_shown_to_everybody(opened: Opened, siem: psycopg.Connection) -> None:
    """The reason of a pause that was asked for."""
    streams.pause(siem, "siem", "maintenance of the SIEM")
    siem.commit()
    page = opened(Someone(masked=frozenset({"data.iban"}))).get("/streams").text
    assert "Paused by postgres: maintenance of the SIEM" in page
