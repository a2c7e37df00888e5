"""Events through the API: pages, one event, exact numbers, and who sees what."""

import json
from hashlib import sha256

import httpx
import psycopg
import pytest

from pgaudit import AuditEvent, Settings, trail
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from tests.support.http import client_of
from tests.support.jobs import persist_and_commit
from tests.web.api.conftest import SECRET, Opened, Staff

EVENTS = "/api/v1/audit/events"
ESCAPES = (
    "tenant:south",
    "-tenant:north",
    "tenant:north,south",
    "data:{}",
    "target:claim:*",
    "action:* tenant:south",
    "id:{id}",
)
HIDDEN = ("data.iban", "changes.iban.before", "changes.iban.after", "actor.name", "context.ip")


def indexes(answer: httpx.Response) -> list[int]:
    """Returns the indexes of the events of a page."""
    assert answer.status_code == 200, answer.text
    return [entry["index"] for entry in answer.json()["entries"]]


@pytest.mark.parametrize("limit", [1, 7, 10, 30, 1_000])
def test_links_lead_through_all_pages_and_back(api: httpx.Client, limit: int) -> None:
    """The links `next` lead to each event once, the newest first; `previous` leads back over the same pages."""
    pages = [api.get(EVENTS, params={"q": "target:policy:a/b", "limit": limit})]
    while link := pages[-1].json()["links"]["next"]:
        pages.append(api.get(link))
    assert [index for page in pages for index in indexes(page)] == list(range(29, -1, -1))
    back = [pages[-1]]
    while len(back) < len(pages):
        back.append(api.get(back[-1].json()["links"]["previous"]))
    assert [indexes(page) for page in back[::-1]] == [indexes(page) for page in pages]
    assert pages[-1].json()["next"] is None


def test_parameters_and_text_find_the_same(api: httpx.Client) -> None:
    """One parameter a field, repeated for alternatives, together with the text of a search."""
    text = "actor:user:1,user:2 outcome:denied after:1d data.number:6,9,18"
    by_text = indexes(api.get(EVENTS, params={"q": text}))
    given = {"q": "outcome:denied", "actor": ["user:1", "user:2"], "recorded_after": "1d"}
    given["data.number"] = ["6", "9", "18"]
    assert by_text == indexes(api.get(EVENTS, params=given)) == [18, 9, 6]


@pytest.mark.parametrize(
    ("query", "position", "says"),
    [
        ("q=action:claim.* acto:user:1", 15, "did you mean actor"),
        ("q=outcome:bad", 8, "is not an outcome"),
        ('q=tenant:"open', 7, "the quote is not closed"),
        ("acto=user:1", None, "there is no parameter acto"),
        ("before=7d", None, "write recorded_before"),
        ("outcome=bad", None, "is not an outcome"),
        ("after=17", None, "is not a cursor"),
        ("&".join(f"data.a{number}=1" for number in range(60)), None, "at most 50 parts"),
        ("data.a=" + "&data.a=".join("x" * 60 for _ in range(90)), None, "4,000 characters"),
        ("limit=0", None, "greater than or equal to 1"),
        ("limit=1001", None, "less than or equal to 1000"),
    ],
)
def test_what_cannot_be_understood_is_a_problem(api: httpx.Client, query: str, position: int | None, says: str) -> None:
    """422 with a sentence, and with the place in the text of the search; a misspelled filter is never left out."""
    answer = api.get(f"{EVENTS}?{query}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert says in answer.json()["detail"]
    assert answer.json().get("position") == position


def test_an_event_is_sent_as_it_is_stored(api: httpx.Client, conn: psycopg.Connection) -> None:
    """By index and by id alike: the stored text is in the answer, and its hash is the leaf hash."""
    stored = trail.find(conn, 7)
    assert stored
    for key in (7, stored.event_id):
        answer = api.get(f"{EVENTS}/{key}")
        assert f'"event": {stored.text}' in answer.text
        assert "12345678901234567890" in answer.text
        assert answer.json()["leaf_hash"] == sha256(b"\x00" + stored.text.encode()).hexdigest()
    assert f'"event": {stored.text}' in api.get(EVENTS, params={"q": f"id:{stored.event_id}"}).text


def test_an_event_that_a_client_has_is_not_sent_again(api: httpx.Client) -> None:
    """The strong ETag of an event answers If-None-Match with 304, and only the user's own cache may keep it."""
    answer = api.get(f"{EVENTS}/7")
    tag = answer.headers["ETag"]
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["Vary"] == "Authorization, Cookie"
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = api.get(f"{EVENTS}/7", headers={"If-None-Match": given})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert api.get(f"{EVENTS}/7", headers={"If-None-Match": '"other"'}).status_code == 200
    assert api.get(f"{EVENTS}/8").headers["ETag"] != tag


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("30", 404),
        ("01890a5d-ac96-774b-bcce-b302099a8057", 404),
        ("x", 422),
        ("-1", 422),
        ("07", 422),
        (f"{2**62}", 422),
    ],
)
def test_an_event_that_is_not_there_is_a_problem(api: httpx.Client, key: str, status: int) -> None:
    """404 for an event that is not in the log, 422 for what names no event."""
    answer = api.get(f"{EVENTS}/{key}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")


def test_nobody_reads_without_a_token(client: httpx.Client) -> None:
    """401, whether there is such an event or not."""
    for path in (EVENTS, f"{EVENTS}/7"):
        assert client.get(path).status_code == 401


@pytest.mark.parametrize("query", ESCAPES)
def test_no_search_leaves_the_scope(as_user: Opened, recorded: list[AuditEvent], query: str) -> None:
    """A user of one tenant sees that tenant, whatever they ask; a user of no tenant sees nothing."""
    text = query.replace("{id}", str(recorded[0].id))
    north = as_user(Staff(seen=Scope(tenants=frozenset({"north"}))))
    assert all(index % 2 for index in indexes(north.get(EVENTS, params={"q": text, "limit": 1_000})))
    nobody = as_user(Staff(seen=Scope(tenants=frozenset())))
    assert indexes(nobody.get(EVENTS, params={"q": text})) == []
    filtered = as_user(Staff(seen=Scope(query="outcome:denied")))
    assert all(index % 3 == 0 for index in indexes(filtered.get(EVENTS, params={"q": text})))


def test_an_event_outside_the_scope_is_not_there(as_user: Opened, recorded: list[AuditEvent]) -> None:
    """By index and id: the same 404 as for an event that does not exist, and no cursor leads to it."""
    north = as_user(Staff(seen=Scope(tenants=frozenset({"north"}))))
    for key in (0, recorded[0].id):
        assert north.get(f"{EVENTS}/{key}").status_code == 404
        assert north.get(f"{EVENTS}/{key}", headers={"If-None-Match": "*"}).status_code == 404
    assert north.get(f"{EVENTS}/1").status_code == 200
    assert indexes(north.get(EVENTS, params={"after": "before-1"})) == []


def test_a_scope_that_is_no_query_shows_nothing(as_user: Opened) -> None:
    """A fault in the application's scope is 403, never an unfiltered page."""
    broken = as_user(Staff(seen=Scope(query="tenat:north")))
    for path in (EVENTS, f"{EVENTS}/1"):
        assert broken.get(path).status_code == 403


def test_hidden_values_are_nowhere(as_user: Opened) -> None:
    """Not in a page, not in an event, not as a hash; the other numbers keep their digits."""
    user = as_user(Staff(hidden=frozenset(HIDDEN)))
    for path in (EVENTS, f"{EVENTS}/7"):
        text = user.get(path).text
        assert SECRET not in text
        assert "Name 3" not in text
        assert "192.0.2.1" not in text
        assert "12345678901234567890" in text
    entry = user.get(f"{EVENTS}/7").json()
    assert (entry["is_masked"], entry["leaf_hash"], entry["event"]["data"]["iban"]) == (True, None, "hidden")


def test_the_tag_of_a_masked_event_does_not_tell_its_values(as_user: Opened, conn: psycopg.Connection) -> None:
    """The ETag is that of the masked answer: it equals what a client can compute from the answer alone."""
    user = as_user(Staff(hidden=frozenset(HIDDEN)))
    answer = user.get(f"{EVENTS}/7")
    assert answer.headers["ETag"] == f'"{sha256(answer.content).hexdigest()[:32]}"'
    stored = trail.find(conn, 7)
    assert stored
    assert stored.leaf_hash.hex() not in answer.text + str(answer.headers)


@pytest.mark.parametrize(
    "params", [{"q": f'data.iban:"{SECRET}"'}, {"data.iban": SECRET}, {"data": json.dumps({"iban": SECRET})}]
)
def test_a_search_for_a_hidden_value_is_refused(as_user: Opened, params: dict[str, str]) -> None:
    """Its answer would tell whether the guess was right."""
    answer = as_user(Staff(hidden=frozenset(HIDDEN))).get(EVENTS, params=params)
    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")


def test_reading_is_recorded_if_the_settings_ask_for_it(
    settings: Settings, conn: psycopg.Connection, recorded: list[AuditEvent]
) -> None:
    """An event audit.viewed says who has asked what, from where, and how much was found."""
    recording = settings.model_copy(update={"record_reads": True})
    with client_of(create_app(recording, Staff())) as client:
        client.get(EVENTS, params={"q": "outcome:denied"}, headers={"X-Request-ID": "asked-1"})
        client.get(f"{EVENTS}/7")
        client.get(f"{EVENTS}/99")
    persist_and_commit(conn)
    first, second = trail.last(conn, 10)[-2:]
    assert (first.action, first.actor, first.event["context"]["request_id"]) == ("audit.viewed", "user:anna", "asked-1")
    assert first.event["data"] == {"query": "outcome:denied", "count": 10}
    assert second.event["data"] == {"event": str(recorded[7].id)}
