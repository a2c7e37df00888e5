"""The pages of events, timelines and exports: what they show, to whom, and that nothing in an event becomes HTML."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html import unescape
from urllib.parse import quote

import httpx
import psycopg
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from pgaudit import AuditEvent, Change, Settings, trail
from pgaudit.events import Actor, AuditContext, Target
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from tests.support.browser import Browser, browser_of
from tests.support.jobs import persist_and_commit, record_persist_and_commit
from tests.web.dashboard.someone import EVIL, Someone

SECRET = "DE89 3704 0044 0532 0130 00"
ROW = re.compile(r'<a href="[^"]*/events/(\d+)" class="mono">')
Opened = Callable[[Someone], Browser]
THING = f"/timeline/claim/{quote(EVIL, safe='')}"
ACTOR = f"/actors/user/{quote(EVIL, safe='')}"


def evil_event(number: int) -> AuditEvent:
    """Returns an event that has markup in every field, and a secret."""
    return AuditEvent(
        action="claim.paid",
        actor=Actor(type="user", id=EVIL, name=EVIL, on_behalf_of=EVIL),
        targets=[Target(type="claim", id=EVIL, name=EVIL, role=EVIL), Target(type="claim", id="7")],
        tenant="north" if number % 2 else EVIL,
        outcome="denied" if number % 3 == 0 else "success",
        reason=EVIL,
        context=AuditContext(request_id="r-1", correlation_id=EVIL, user_agent=EVIL, ip=EVIL),
        changes=[
            Change(path=EVIL, before=EVIL, after={EVIL: [EVIL, 12345678901234567890]}),
            Change(path="note", before="The roof is damaged by the storm.", after="The roof is damaged by hail."),
            Change(path="iban", before=None, after=SECRET),
        ],
        data={EVIL: EVIL, "iban": SECRET, "long": 12345678901234567890},
    )


@pytest.fixture
def recorded(conn: psycopg.Connection) -> list[AuditEvent]:
    """Thirty events."""
    events = [evil_event(number) for number in range(30)]
    assert record_persist_and_commit(conn, *events) == []
    return events


@pytest.fixture
def opened(settings: Settings, recorded: list[AuditEvent]) -> Iterator[Opened]:
    """Opens a browser for a user of an application with the events."""
    assert recorded
    with ExitStack() as stack:
        yield lambda user: stack.enter_context(browser_of(create_app(settings, user)))


READER = Someone(may=frozenset({"read", "export"}))


def rows(page: httpx.Response) -> list[int]:
    """Returns the indexes of the events that a page lists."""
    assert page.status_code == 200, page.text
    return [int(index) for index in ROW.findall(page.text)]


def link(page: httpx.Response, text: str) -> str:
    """Returns the address of a link."""
    found = re.search(rf'<a [^>]*href="([^"]*)"[^>]*>{text}</a>', page.text)
    assert found, f"no link {text}"
    return unescape(found[1])


def test_links_lead_through_the_pages_and_keep_the_search(opened: Opened) -> None:
    """Older and Newer keep the search and the size in the address; removing a chip keeps the other filters."""
    browser = opened(READER)
    first = browser.get("/events", params={"q": "tenant:north -outcome:failure", "limit": "25"})
    assert rows(first) == list(range(29, 0, -2))
    assert "15 events" in first.text
    fewer = browser.get(link(first, "\u00d7"))
    assert unescape(fewer.text).count('value="-outcome:failure"') >= 1
    pages = [browser.get("/events", params={"q": "action:claim.*", "limit": "25"})]
    pages.append(browser.get(link(pages[0], "Older")))
    assert [index for page in pages for index in rows(page)] == list(range(29, -1, -1))
    assert rows(browser.get(link(pages[1], "Newer"))) == rows(pages[0])


def test_a_filter_is_added_to_the_search(opened: Opened) -> None:
    """The form leads to the address of the search that has the term, too; values with blanks are quoted."""
    browser = opened(READER)
    answer = browser.get("/events", params={"q": "tenant:north", "field": "outcome", "value": "denied", "not": "on"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/events?q=tenant%3Anorth+-outcome%3Adenied")
    wrong = browser.get("/events", params={"field": "outcome", "value": "no"})
    assert wrong.status_code == 422
    assert "is not an outcome" in wrong.text


def test_a_search_that_cannot_be_understood_is_shown_with_its_fault(opened: Opened) -> None:
    """422 with the text still in the form, a sentence, and a caret below the place."""
    page = opened(READER).get("/events", params={"q": "tenant:north outcom:denied"})
    assert page.status_code == 422
    assert 'value="tenant:north outcom:denied"' in page.text
    assert "did you mean outcome, or target:outcom:denied?" in page.text
    assert "\n             ^" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/events",
        f"/events?q={quote('tenant:' + chr(34) + EVIL.replace(chr(34), chr(92) + chr(34)) + chr(34))}",
        f"/events?q={quote(EVIL)}",
        "/events/7",
        "/events/7/neighbours",
        THING,
        f"{THING}?as_of=7&compare={quote(EVIL)}",
        "/timeline/claim/7?compare=3",
        ACTOR,
        f"/exports?q={quote(EVIL)}",
    ],
)
def test_nothing_in_an_event_becomes_html(opened: Opened, path: str) -> None:
    """Markup in names, ids, keys, values, user agents and searches is text on every page."""
    page = opened(READER).get(path)
    assert page.status_code in {200, 422}
    assert "<img" not in page.text.replace('<img src="/static/', "")
    assert " style=" not in page.text
    assert "onerror" not in re.sub(r'"[^"]*"', "", re.sub(r">[^<]*<", "><", page.text))


def test_an_event_is_shown_with_all_digits_and_its_hash(opened: Opened, conn: psycopg.Connection) -> None:
    """Its exact text, its numbers, its changes word by word, and whether its hash is still the leaf hash."""
    stored = trail.find(conn, 7)
    assert stored
    page = opened(READER).get("/events/7").text
    assert stored.text in unescape(page)
    assert stored.leaf_hash.hex() in page
    assert "✓ Unchanged." in page
    assert "12345678901234567890" in page
    assert "<del>the storm</del>" in page
    assert "<ins>hail</ins>" in page


def test_an_event_that_was_altered_is_shown_as_that(opened: Opened, conn: psycopg.Connection) -> None:
    """The hash of what is stored now is not the leaf hash."""
    conn.execute("ALTER TABLE pgaudit.audit_log DISABLE TRIGGER append_only")
    conn.execute('UPDATE pgaudit.audit_log SET event = event || \'{"reason": "x"}\' WHERE index = 7')
    conn.commit()
    page = opened(READER).get("/events/7").text
    assert "✗ Changed." in page
    assert "✓" not in page


def test_the_id_of_an_event_leads_to_its_page(opened: Opened, recorded: list[AuditEvent]) -> None:
    """Its permalink has the index."""
    assert opened(READER).get(f"/events/{recorded[7].id}").headers["Location"] == "/events/7"


@pytest.mark.parametrize("path", ["/events/0", "/events/0/neighbours", "/events/{id}"])
def test_an_event_outside_the_scope_is_not_found(opened: Opened, recorded: list[AuditEvent], path: str) -> None:
    """404, as for one that does not exist."""
    north = opened(Someone(sees=Scope(frozenset({"north"}))))
    assert north.get(path.replace("{id}", str(recorded[0].id))).status_code == 404


@pytest.mark.parametrize("path", ["/events?q=tenant:north,x&limit=250", "/events/1/neighbours", THING, ACTOR])
def test_no_page_leaves_the_scope(opened: Opened, path: str) -> None:
    """A user of one tenant sees events of that tenant; a user of none sees no event."""
    north = rows_of_any(opened(Someone(sees=Scope(frozenset({"north"})))).get(path))
    assert north
    assert all(index % 2 for index in north)
    nobody = opened(Someone(sees=Scope(frozenset()))).get(path)
    assert nobody.status_code == 404 or not rows_of_any(nobody)


def rows_of_any(page: httpx.Response) -> set[int]:
    """Returns the indexes of all events to which a page links."""
    return {int(index) for index in re.findall(r'href="/events/(\d+)"', page.text)}


@pytest.mark.parametrize(
    "path", ["/events", "/events/7", "/events/7/neighbours", THING, ACTOR, "/timeline/claim/7?compare=3"]
)
def test_hidden_values_are_on_no_page(opened: Opened, path: str) -> None:
    """Neither the values, nor the hash that would confirm a guess."""
    hidden = frozenset({"data.iban", "changes.iban.after", "context.ip"})
    page = opened(Someone(masked=hidden)).get(path)
    assert page.status_code == 200
    assert SECRET not in page.text
    assert "Leaf hash" not in page.text


def test_searches_are_saved_and_deleted(opened: Opened) -> None:
    """Under a name, for the user alone, and only by a form of the user's own page."""
    browser = opened(READER)
    saved = browser.post("/searches", {"name": EVIL, "q": "outcome:denied"}, page="/events")
    assert (saved.status_code, saved.headers["Location"]) == (303, "/events?q=outcome%3Adenied")
    page = browser.get("/events").text
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "Saved searches (1)" in page
    assert browser.client.post("/searches", data={"name": "x", "q": ""}).status_code == 403
    assert browser.client.post("/searches/delete", data={"name": EVIL}).status_code == 403
    assert browser.post("/searches", {"name": "x", "q": "outcom:x"}, page="/events").status_code == 422
    assert browser.post("/searches/delete", {"name": EVIL, "q": ""}, page="/events").status_code == 303
    assert "Saved searches (1)" not in browser.get("/events").text


def test_the_state_at_a_moment_and_the_difference_are_shown(opened: Opened) -> None:
    """What no event has told is unknown, and a text that is no moment is an error beside its field."""
    browser = opened(READER)
    page = unescape(browser.get(f"{THING}?as_of=7").text)
    assert 'State at <a href="/events/7">event 7</a>' in page
    assert "The roof is damaged by hail." in page
    assert "Everything is unknown" in browser.get("/timeline/claim/none").text
    assert "is not a time" in unescape(browser.get(f"{THING}?as_of=soon").text)


def test_an_export_needs_the_form_of_the_page(opened: Opened, conn: psycopg.Connection) -> None:
    """The form returns the file and is recorded; without its token, or without the right, nothing is."""
    browser = opened(READER)
    fields = {"q": "outcome:denied", "format": "csv", "columns": "data.iban", "bom": "on"}
    answer = browser.post("/exports", fields)
    assert answer.content.startswith(b"\xef\xbb\xbf")
    assert len(answer.text.splitlines()) >= 11
    assert browser.client.post("/exports", data=fields).status_code == 403
    assert opened(Someone()).post("/exports", fields, page="/events").status_code == 403
    persist_and_commit(conn)
    page = browser.get("/exports").text
    assert "<code>outcome:denied</code>" in page
    assert page.count('data-label="Ended"') == 1


@pytest.mark.parametrize("mount", ["/audit", "/a/b"])
def test_the_pages_work_below_a_mount(settings: Settings, recorded: list[AuditEvent], mount: str) -> None:
    """Every address of every page begins with the path of the mount, and leads to a page."""
    assert recorded
    host = Starlette(routes=[Mount(mount, app=create_app(settings, READER))])
    with browser_of(host, mount) as browser:
        for path in ("/events?limit=25", "/events/7", THING, ACTOR, "/exports"):
            page = browser.get(path).text
            addresses = {unescape(one) for one in re.findall(r'(?:href|action|src|data-stream)="([^"#]*)"', page)}
            assert addresses
            assert {one for one in addresses if not one.startswith(f"{mount}/")} == set()
        followed = httpx.get(
            browser.client.base_url.join(link(browser.get("/events?limit=25"), "Older")), trust_env=False
        )
        assert followed.status_code == 200
