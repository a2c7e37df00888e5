"""Timelines through the API: state, comparison, exact numbers, and who sees what."""

import httpx
import psycopg
import pytest

from pgaudit import AuditEvent, Change
from pgaudit.web.access import Scope
from tests.support.jobs import persist_and_commit, record_persist_and_commit
from tests.web.api.conftest import SECRET, Opened, Staff

TIMELINE = "/api/v1/audit/timeline"
LIFE = (
    ("claim.opened", [("status", None, "open"), ("limit", None, 0)]),
    ("claim.limited", [("limit", 0, 12345678901234567890)]),
    ("claim.approved", [("status", "open", "approved"), ("iban", None, SECRET)]),
)


@pytest.fixture
def life(api: httpx.Client, conn: psycopg.Connection) -> httpx.Client:
    """A client; events 30 to 32 of the log are the life of a claim whose id has slashes."""
    events = [
        AuditEvent(
            action=action,
            actor="user:7",
            target="claim:2026/7?#%",
            tenant="north",
            changes=[Change(path=path, before=before, after=after) for path, before, after in changes],
        )
        for action, changes in LIFE
    ]
    assert record_persist_and_commit(conn, *events) == []
    return api


THING = f"{TIMELINE}/claim/2026%2F7%3F%23%25"


def test_a_timeline_has_the_events_and_the_state(life: httpx.Client) -> None:
    """Each field with its value and the event that has told it; a long integer keeps its digits."""
    answer = life.get(THING)
    body = answer.json()
    assert body["target"] == "claim:2026/7?#%"
    assert [(one["index"], one["action"]) for one in body["moments"]] == [(30 + n, LIFE[n][0]) for n in range(3)]
    assert {path: (told["value"], told["index"]) for path, told in body["state"].items()} == {
        "status": ("approved", 32),
        "limit": (12345678901234567890, 31),
        "iban": (SECRET, 32),
    }
    assert "12345678901234567890" in answer.text


def test_two_moments_are_compared(life: httpx.Client) -> None:
    """The state at one, and the fields that are not the same as at the other; what is unknown is null."""
    body = life.get(THING, params={"as_of": "31", "compare": "30"}).json()
    assert body["state"]["status"]["value"] == "open"
    ((path, before, after),) = [
        (one["path"], one["before"]["value"], one["after"]["value"]) for one in body["difference"]
    ]
    assert (path, before, after) == ("limit", 0, 12345678901234567890)
    assert life.get(THING).json()["difference"] is None


FRACTIONS = """
    [{"id": "01890a5d-ac96-774b-bcce-b302099a8057", "action": "claim.paid", "occurred_at": "2026-01-01T00:00:00Z",
      "outcome": "success", "schema_version": 1,
      "targets": [{"type": "claim", "id": "x"}], "changes": [{"path": "amount", "before": 1.10, "after": 2.50}]}]
"""


def test_fractions_keep_their_digits(api: httpx.Client, conn: psycopg.Connection) -> None:
    """1.10 stays 1.10, in the changes and in the state."""
    conn.execute("SELECT pgaudit.record(%s::jsonb)", [FRACTIONS])
    conn.commit()
    persist_and_commit(conn)
    text = api.get(f"{TIMELINE}/claim/x").text
    assert '"before": 1.10' in text
    assert '"value": 2.50' in text


@pytest.mark.parametrize("params", [{"as_of": "soon"}, {"compare": "x"}, {"limit": "0"}])
def test_what_is_not_a_moment_is_a_problem(life: httpx.Client, params: dict[str, str]) -> None:
    """422 with a sentence that says what a moment is."""
    answer = life.get(THING, params=params)
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")


def test_a_timeline_of_many_things_is_a_problem(life: httpx.Client) -> None:
    """claim:* stands for many."""
    assert life.get(f"{TIMELINE}/claim/*").status_code == 422


def test_no_timeline_leaves_the_scope(as_user: Opened) -> None:
    """A user of one tenant sees the events of that tenant only, of a thing that both tenants share."""
    north = as_user(Staff(seen=Scope(tenants=frozenset({"north"}))))
    assert {one["index"] % 2 for one in north.get(f"{TIMELINE}/policy/a%2Fb").json()["moments"]} == {1}
    nobody = as_user(Staff(seen=Scope(tenants=frozenset())))
    body = nobody.get(f"{TIMELINE}/policy/a%2Fb").json()
    assert (body["moments"], body["state"]) == ([], {})


def test_hidden_values_are_in_no_timeline(as_user: Opened) -> None:
    """Neither in the changes, nor in the state, nor in a difference."""
    user = as_user(Staff(hidden=frozenset({"changes.iban.after", "actor.id"})))
    answer = user.get(f"{TIMELINE}/claim/1", params={"compare": "0"})
    assert SECRET not in answer.text
    body = answer.json()
    assert {one["actor"] for one in body["moments"]} == {"user:hidden"}
    assert body["state"]["iban"]["value"] == "hidden"
    assert as_user(Staff(hidden=frozenset({"targets"}))).get(f"{TIMELINE}/claim/1").status_code == 403
