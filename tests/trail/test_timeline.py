"""Timelines of things and actors, read from a log."""

import tracemalloc
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pgaudit import AuditEvent, Change, Target, trail
from pgaudit.errors import InvalidQuery
from pgaudit.trail import Query, parse
from pgaudit.trail.timelines import reading
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.drivers import ASYNC, SYNC, psycopg_async
from tests.support.jobs import persist_and_commit, record_persist_and_commit
from tests.support.queries import Connection
from tests.trail.conftest import EVENTS
from tests.trail.oracle import matching

FRACTIONS = """
    [{"id": "01890a5d-ac96-774b-bcce-b302099a8057", "action": "claim.paid", "occurred_at": "2026-01-01T00:00:00Z",
      "outcome": "success", "schema_version": 1,
      "targets": [{"type": "claim", "id": "x"}], "changes": [{"path": "amount", "before": 1.10, "after": 2.50}]}]
"""
START = datetime(2026, 3, 1, tzinfo=UTC)
# Events of one claim that differ only in their numbers, each with much data: what the owner can insert.
MANY = """
    INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
    SELECT event, pgaudit.leaf_hash(event), octet_length(event::text)
      FROM generate_series(1, %s) AS number, LATERAL jsonb_build_object(
           'id', gen_random_uuid(), 'action', 'claim.changed', 'outcome', 'success', 'schema_version', 1,
           'occurred_at', '2026-01-01T00:00:00Z', 'recorded_at', '2026-01-01T00:00:00Z', 'recorded_by', 'x', 'xid', '1',
           'targets', '[{"type": "claim", "id": "7"}]'::jsonb, 'data', jsonb_build_object('note', repeat('x', 2000)),
           'changes', jsonb_build_array(jsonb_build_object('path', 'visits', 'after', number))) AS event
"""


def changed(path: str, before: object, after: object, hours: int = 0, target: str = "claim:7") -> AuditEvent:
    """Returns an event with one change, so many hours after the start."""
    return AuditEvent(
        action="claim.changed",
        actor="user:42",
        target=target,
        occurred_at=START + timedelta(hours=hours),
        changes=[Change(path=path, before=before, after=after)],
    )


@pytest.fixture
def claim(conn: Connection) -> Connection:
    """A log in which claim 7 was opened, paid two hours later, and is the second target of an event without changes."""
    events = [
        changed("status", None, "open"),
        changed("status", "open", "paid", hours=2),
        AuditEvent(action="policy.renewed", actor="user:1", targets=["policy:3", "claim:7"], reason="yearly"),
        changed("status", None, "open", target="claim:8"),
    ]
    assert record_persist_and_commit(conn, *events) == []
    return conn


@pytest.mark.parametrize("target", ["claim:1", "policy:2", "claim:99"])
def test_a_timeline_has_every_event_of_a_target(log: psycopg.Connection, target: str) -> None:
    """In all partitions, as the first or a further target, each event is there once and as it was recorded."""
    entries = [entry for page in trail.pages(log) for entry in page]
    expected = matching(entries, parse(f"target:{target}"))[::-1]
    life = trail.timeline(log, target)
    assert (life.target, life.stopped) == (target, None)
    assert [moment.index for moment in life.moments] == expected
    for moment in life.moments:
        entry = entries[moment.index]
        assert moment.event_id == entry.event_id
        assert (moment.occurred_at, moment.recorded_at) == (entry.occurred_at, entry.recorded_at)
        assert (moment.action, moment.outcome) == (entry.action, entry.outcome)
        assert (moment.actor, moment.target) == (entry.actor, entry.target)
        assert list(moment.changes) == entry.event.get("changes", [])


def test_a_timeline_of_an_actor_has_all_that_it_did(log: psycopg.Connection) -> None:
    """It has the actor's events in the order of the log; it has no state, because they are about many things."""
    entries = [entry for page in trail.pages(log) for entry in page]
    activity = trail.actor_timeline(log, ("user", 1))
    assert [moment.index for moment in activity.moments] == matching(entries, parse("actor:user:1"))[::-1]
    assert not hasattr(activity, "state")


def test_a_timeline_tells_state_and_difference(claim: Connection) -> None:
    """By time and by index, from the changes of this claim alone."""
    life = trail.timeline(claim, "claim:7")
    assert [moment.index for moment in life.moments] == [0, 1, 2]
    assert life.moments[2].reason == "yearly"
    for as_of in (0, START, START + timedelta(hours=1)):
        assert life.state(as_of)["status"].value == "open"
        assert trail.timeline(claim, "claim:7", as_of=as_of).state()["status"].value == "open"
    told = life.state()["status"]
    assert (told.value, told.by.actor, told.by.index) == ("paid", "user:42", 1)
    (difference,) = life.difference(START)
    assert difference.path == "status"
    assert life.state(START - timedelta(hours=1))["status"].source == "before"


def test_an_event_occurs_at_its_own_moment(claim: Connection) -> None:
    """A time includes the events that occurred at it; the last time of the calendar includes all."""
    paid = START + timedelta(hours=2)
    assert len(trail.timeline(claim, "claim:7", as_of=paid).moments) == 2
    assert len(trail.timeline(claim, "claim:7", as_of=paid - timedelta(microseconds=1)).moments) == 1
    assert len(trail.timeline(claim, "claim:7", as_of=datetime.max.replace(tzinfo=UTC)).moments) == 3


def test_changes_are_of_the_first_target_and_its_equals(conn: Connection) -> None:
    """Two claims that were closed together are closed both; the policy and the duplicate beside them are not."""
    duplicate = Target(type="claim", id="3", role="duplicate")
    closed = [Change(path="status", after="closed")]
    targets: list[Target | str] = ["claim:1", "claim:2", duplicate, "policy:1"]
    event = AuditEvent(action="claim.closed", targets=targets, changes=closed)
    assert record_persist_and_commit(conn, event) == []
    lives = {target: trail.timeline(conn, target) for target in ("claim:1", "claim:2", "claim:3", "policy:1")}
    assert [len(life.moments) for life in lives.values()] == [1, 1, 1, 1]
    assert [target for target, life in lives.items() if life.state()] == ["claim:1", "claim:2"]


def test_a_scope_hides_what_it_leaves_out(log: psycopg.Connection) -> None:
    """The moments are those that meet the scope; an empty one hides everything."""
    entries = [entry for page in trail.pages(log) for entry in page]
    scope = parse("tenant:north")
    life = trail.timeline(log, "claim:1", scope=scope)
    assert [moment.index for moment in life.moments] == matching(entries, parse("target:claim:1") & scope)[::-1]
    nothing = Query((trail.Term("tenant", ()),))
    assert trail.timeline(log, "claim:1", scope=nothing).moments == ()


def test_a_long_history_says_what_was_left_out(log: psycopg.Connection) -> None:
    """With a limit the newest are kept; the next part is read from where it stopped, until nothing is left out."""
    whole = trail.timeline(log, "claim:1").moments
    parts = [trail.timeline(log, "claim:1", limit=40)]
    while stopped := parts[-1].stopped:
        assert (stopped.index, stopped.recorded_at) == (parts[-1].moments[0].index, parts[-1].moments[0].recorded_at)
        parts.append(trail.timeline(log, "claim:1", as_of=stopped.index - 1, limit=40))
    assert [moment for part in reversed(parts) for moment in part.moments] == list(whole)
    assert len(parts) == -(-len(whole) // 40)


def test_a_search_that_finds_little_is_bounded(log: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many rows it stops, and says back to where it has looked."""
    monkeypatch.setattr(reading, "MOST_EXAMINED", 50)
    life = trail.timeline(log, "claim:1", scope=parse("data.n:77"), limit=10)
    assert life.moments == ()
    assert life.stopped is not None
    assert 0 < life.stopped.index < EVENTS
    assert life.stopped.examined <= 50


def test_numbers_keep_their_digits(conn: Connection) -> None:
    """1.10 stays 1.10 in the changes and in the state, and ``exact_event`` has it for a program."""
    conn.execute("SELECT pgaudit.record(%s::jsonb)", [FRACTIONS])
    persist_and_commit(conn)
    life = trail.timeline(conn, "claim:x")
    assert str(life.moments[0].changes[0]["before"]) == "1.10"
    assert str(life.state()["amount"].value) == "2.50"
    (entry,) = trail.search(conn, "target:claim:x").entries
    assert entry.event["changes"][0]["before"] == 1.1
    assert str(entry.exact_event()["changes"][0]["before"]) == "1.10"


def test_memory_is_that_of_the_moments(conn: Connection) -> None:
    """Reading a claim with 20,000 events, 40 MB of them, takes a fraction of that."""
    make_small_partitions_and_commit(conn, 4_096)
    conn.execute(MANY, [20_000])
    assert [persist_and_commit(conn, 4_000) for _ in range(5)] == [[]] * 5
    tracemalloc.start()
    life = trail.timeline(conn, "claim:7")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(life.moments), life.stopped) == (20_000, None)
    assert life.state()["visits"].value == 20_000
    assert peak < 25_000_000


@pytest.mark.parametrize("target", ["claim", "claim:", ":7", "claim:*", ("claim", "*"), ("a:b", 7), ("", 7)])
def test_what_is_not_one_thing_is_refused(target: str, conn: Connection) -> None:
    """A timeline is of a single thing, and the error says how to name one."""
    with pytest.raises(InvalidQuery):
        trail.timeline(conn, target)


@pytest.mark.parametrize("limit", [0, 100_001])
def test_a_limit_has_bounds(limit: int, conn: Connection) -> None:
    """Work and memory have an upper bound."""
    with pytest.raises(ValueError, match="1 to 100,000"):
        trail.timeline(conn, "claim:7", limit=limit)


@pytest.mark.parametrize("kind", SYNC)
def test_every_synchronous_connection_reads_a_timeline(kind: str, claim: Connection, dsn: str) -> None:
    """The timeline is the same through SQLAlchemy and Django."""
    expected = trail.timeline(claim, "claim:7")
    with SYNC[kind](dsn) as conn:
        assert trail.timeline(conn, "claim:7") == expected


@pytest.mark.parametrize("kind", [*ASYNC, "psycopg"])
async def test_every_asynchronous_connection_reads_a_timeline(kind: str, claim: Connection, dsn: str) -> None:
    """The timelines are the same through psycopg, asyncpg and SQLAlchemy on either."""
    opened = psycopg_async(dsn) if kind == "psycopg" else ASYNC[kind](dsn)
    async with opened as conn:
        assert await trail.timeline_async(conn, "claim:7") == trail.timeline(claim, "claim:7")
        assert await trail.actor_timeline_async(conn, "user:42") == trail.actor_timeline(claim, "user:42")
