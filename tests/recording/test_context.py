"""bind(): fields that all events of a request have in common."""

import asyncio
import threading
from collections.abc import Generator
from contextvars import copy_context

import pytest

from pgaudit import Actor, AuditContext, AuditEvent, AuditLog, InvalidEvent, NotInRequest, Settings, bind, identify
from pgaudit._log import warn_once
from pgaudit.recording import actor
from pgaudit.recording.context import Request, with_bound_context
from pgaudit.testing import recording
from tests.support.events import inheriting_event


def test_an_event_inherits_what_it_leaves_unset() -> None:
    """Bound fields are used where the event has none, field by field."""
    with bind(actor="user:42", tenant="acme", request_id="r-1", ip="10.0.0.1"):
        event = with_bound_context(
            AuditEvent(action="claim.approved", tenant="other", context=AuditContext(ip="10.0.0.2"))
        )
    assert event.actor == Actor(type="user", id="42")
    assert event.tenant == "other"
    assert event.context == AuditContext(request_id="r-1", ip="10.0.0.2")


def test_nesting_accumulates_and_the_inner_wins() -> None:
    """Inner blocks add to outer ones; at the end of a block the outer values are back."""
    with bind(actor="user:1", request_id="r-1"):
        with bind(actor="user:2", trace_id="t-1"):
            event = inheriting_event()
            assert event.actor == Actor(type="user", id="2")
            assert event.context == AuditContext(request_id="r-1", trace_id="t-1")
        assert inheriting_event().actor == Actor(type="user", id="1")
        assert inheriting_event().context == AuditContext(request_id="r-1")
    assert inheriting_event().actor is None
    assert inheriting_event().context is None


def test_the_block_ends_with_an_error_too() -> None:
    """Nothing stays bound after an error in the block."""
    with pytest.raises(RuntimeError), bind(tenant="acme"):
        raise RuntimeError
    assert inheriting_event().tenant is None


def test_nothing_bound_leaves_the_event_itself() -> None:
    """Without a bound field the event is returned, not a copy."""
    event = AuditEvent(action="claim.approved")
    assert with_bound_context(event) is event


@pytest.mark.parametrize(
    ("bound", "own", "expected"),
    [
        ({}, {}, ("t", "s")),
        ({"trace_id": "t", "span_id": "caller's"}, {}, ("t", "s")),
        ({"trace_id": "b", "span_id": "caller's"}, {}, ("b", "caller's")),
        ({"trace_id": "b"}, {}, ("b", None)),
        ({"span_id": "caller's"}, {}, ("t", "s")),
        ({"trace_id": "t", "span_id": "caller's"}, {"trace_id": "o"}, ("o", None)),
        ({"trace_id": "b", "span_id": "caller's"}, {"trace_id": "t"}, ("t", "s")),
        ({"trace_id": "t"}, {"trace_id": "t", "span_id": "o"}, ("t", "o")),
        ({}, {"span_id": "o"}, ("t", "o")),
    ],
)
def test_an_event_is_tied_to_the_span_that_it_is_recorded_in(
    bound: dict[str, str], own: dict[str, str], expected: tuple[str, str | None]
) -> None:
    """The current span is used unless the event has a trace or one is bound; span and trace always belong together."""
    with bind(request_id="r-1", **bound):
        event = AuditEvent(action="claim.approved", context=AuditContext(**own))
        context = with_bound_context(event, {"trace_id": "t", "span_id": "s"}).context
    assert context == AuditContext(request_id="r-1", trace_id=expected[0], span_id=expected[1])


def test_threads_do_not_see_each_other() -> None:
    """A thread starts with nothing bound, and does not change what others see."""
    seen: list[AuditEvent] = []
    bound, checked = threading.Event(), threading.Event()

    def work() -> None:
        seen.append(inheriting_event())
        with bind(tenant="thread"):
            bound.set()
            checked.wait(10)
            seen.append(inheriting_event())

    thread = threading.Thread(target=work)
    with bind(tenant="main"):
        thread.start()
        assert bound.wait(10)
        assert inheriting_event().tenant == "main"
    checked.set()
    thread.join(10)
    assert [event.tenant for event in seen] == [None, "thread"]


@pytest.mark.anyio
async def test_tasks_do_not_see_each_other() -> None:
    """A task inherits what was bound when it was created, and does not change what others see."""
    meeting = asyncio.Barrier(2)

    async def work(tenant: str) -> tuple[str | None, Actor | None]:
        with bind(tenant=tenant):
            await meeting.wait()
            event = inheriting_event()
            await meeting.wait()
            return event.tenant, event.actor

    with bind(actor="user:1"):
        results = await asyncio.gather(work("a"), work("b"))
    actor = Actor(type="user", id="1")
    assert list(results) == [("a", actor), ("b", actor)]


@pytest.mark.parametrize(
    ("values", "field"),
    [({"actor": "user"}, "actor"), ({"tenant": "\0"}, "tenant"), ({"ip": "\ud800"}, "ip"), ({"host": "x"}, "host")],
)
def test_bind_refuses_an_invalid_field(values: dict[str, str], field: str) -> None:
    """bind() raises InvalidEvent with the field, before any event is recorded."""
    with pytest.raises(InvalidEvent, match=field), bind(**values):
        pytest.fail("bound")


def rows() -> Generator[None]:
    """A report that is read lazily, and whose reader may keep it."""
    with bind(actor="service:report"):
        yield


def test_a_generator_that_is_closed_late_gives_its_actor_to_no_other_request() -> None:
    """A late generator binds nothing in another request, neither its own values nor those of its first request."""
    with Request({"request_id": "r-1"}, lambda: "user:5").serving():
        report = rows()
        next(report)
    with Request({"request_id": "r-2"}).serving():
        report.close()
        assert (inheriting_event().actor, inheriting_event().context) == (None, AuditContext(request_id="r-2"))
    assert (inheriting_event().actor, inheriting_event().context) == (None, None)


def test_blocks_that_end_out_of_order_end_for_good() -> None:
    """Two generators that bind can be closed in the order in which they began."""
    first, second = rows(), rows()
    next(first)
    with bind(actor="user:1"):
        next(second)
        first.close()
        second.close()
        assert inheriting_event().actor == Actor(type="user", id="1")
    assert inheriting_event().actor is None


def test_a_task_keeps_what_was_bound_when_it_was_made() -> None:
    """A copied context keeps its actor after the block has ended, and after an inner block."""
    with bind(actor="user:1"):
        kept = copy_context()

    def work() -> list[str]:
        with bind(actor="user:2"):
            inner = str(inheriting_event().actor)
        return [inner, str(inheriting_event().actor)]

    assert kept.run(work) == ["user:2", "user:1"]


def test_identify_names_the_actor_of_its_request_alone() -> None:
    """From a thread of the request, too. What is bound inside of the request wins, and what it leaves out stays."""
    request = Request({"request_id": "r-1"}, lambda: "user:5")
    with request.serving():
        assert str(inheriting_event().actor) == "user:5"
        thread = threading.Thread(target=copy_context().run, args=[lambda: identify(actor="key:7", session_id="s")])
        thread.start()
        thread.join(10)
        identify(tenant="acme")
        event = inheriting_event()
        assert (str(event.actor), event.tenant) == ("key:7", "acme")
        assert event.context == AuditContext(request_id="r-1", session_id="s")
        with bind(actor="service:import"):
            assert str(inheriting_event().actor) == "service:import"
    with Request({"request_id": "r-2"}).serving():
        assert inheriting_event().actor is None


def test_identify_is_refused_where_no_request_is_served() -> None:
    """Nothing would come of it."""
    with pytest.raises(NotInRequest, match=r"bind\(actor=...\)"):
        identify(actor="user:42")
    with bind(request_id="r-1"), pytest.raises(NotInRequest):
        identify(actor="user:42")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("user:42", "user:42"),
        ("ada", "invalid:ada"),
        ("user:", "invalid:user:"),
        (42, "invalid:int"),
        ("user:a\0b\ud800", "user:ab…"),
        ("user:" + "x" * 501, "user:" + "x" * 483 + "…"),
        ("k" * 101 + ":42", "k" * 83 + "…"),
        ("user:None", "None"),
        (None, "None"),
        ("", "None"),
    ],
)
def test_an_actor_that_no_event_could_hold_is_changed_and_logged(
    found: str | None, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once; a request must not fail because of a name."""
    warn_once.cache_clear()  # another test may have logged it
    with Request({"request_id": "r-1"}, lambda: found).serving():
        seen = {str(inheriting_event().actor) for _ in range(2)}
        identify(actor=found)
        seen.add(str(inheriting_event().actor))
    (name,) = seen
    assert name.partition("…")[0] == expected.partition("…")[0]
    assert ("…" in name) == ("…" in expected)
    changed = expected not in {str(found), "None"}
    assert [record.levelname for record in caplog.records] == ["WARNING"] * changed


def test_a_long_name_of_an_actor_is_cut() -> None:
    """So that its event is not too large."""
    ada = Actor(type="user", id="1", name="Ada" * 30_000)
    with Request({"request_id": "r-1"}, lambda: ada).serving():
        found = inheriting_event().actor
    assert found is not None
    assert found.name is not None
    assert len(found.name) == 500


def test_two_long_ids_stay_different() -> None:
    """Though both are cut at the same place."""
    named = {actor.named("user:" + "x" * 600 + end) for end in "ab"}
    assert len(named) == 2


@pytest.mark.anyio
async def test_an_actor_that_has_to_be_awaited_is_found_once_it_is_needed() -> None:
    """Not for events that have one, and not where bind or identify names another."""
    calls: list[int] = []

    async def find() -> str:
        calls.append(1)
        await asyncio.sleep(0)
        return "user:5"

    audit = AuditLog(Settings())
    with recording() as events, Request({}, None, find).serving():
        await audit.record_async(None, AuditEvent(action="a.b", actor="user:1"))
        with bind(actor="user:2"):
            await audit.record_async(None, AuditEvent(action="a.b"))
        assert calls == []
        await audit.record_async(None, AuditEvent(action="a.b"), AuditEvent(action="a.b", actor="user:3"))
        identify(actor="user:4")
        await audit.record_async(None, AuditEvent(action="a.b"))
    assert [str(event.actor) for event in events] == ["user:1", "user:2", "user:5", "user:3", "user:4"]
    assert calls == [1]


@pytest.mark.parametrize(
    ("require", "values", "missing"),
    [
        ("actor", {"target": "claim:7"}, r"names no actor.*identify\(actor=...\)"),
        ("actor,target", {"actor": "user:1"}, r'names no target.*target="claim:7"'),
        ("actor, target", {"actor": "user:1", "target": "claim:7"}, None),
        ("", {}, None),
    ],
)
@pytest.mark.parametrize("mode", ["queue", "off"])
def test_an_event_that_lacks_what_is_required_is_refused(
    require: str, values: dict[str, str], missing: str | None, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGAUDIT_REQUIRE applies in each mode and inside recording(), and the message says what to do."""
    monkeypatch.setenv("PGAUDIT_REQUIRE", require)
    audit = AuditLog(Settings(mode=mode))
    event = AuditEvent(action="claim.approved", **values)  # type: ignore[arg-type]
    with recording() as events:
        if missing:
            with pytest.raises(InvalidEvent, match=missing):
                audit.record(None, event)
            assert events == []
        else:
            audit.record(None, event)
            assert events == [event]


def test_what_is_bound_counts_as_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGAUDIT_REQUIRE asks for it in the event that is recorded."""
    monkeypatch.setenv("PGAUDIT_REQUIRE", "actor")
    with recording() as events, bind(actor="service:import"):
        AuditLog().record(None, AuditEvent(action="claim.approved"))
    assert str(events[0].actor) == "service:import"


@pytest.mark.parametrize("values", [{"actor": "user:None"}, {"target": "claim:None"}])
def test_an_id_that_is_none_is_refused(values: dict[str, str]) -> None:
    """An id ``None`` is refused, because it comes from reading a key before the row is saved."""
    with pytest.raises(InvalidEvent, match="has no id: it is None"):
        AuditEvent(action="claim.approved", **values)  # type: ignore[arg-type]
