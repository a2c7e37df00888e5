"""bind(): fields that all events of a request have in common."""

import asyncio
import threading

import pytest

from pgaudit import Actor, AuditContext, AuditEvent, InvalidEvent, bind
from pgaudit.recording.context import with_bound_context


def inherited() -> AuditEvent:
    """Returns an event that has only what is bound."""
    return with_bound_context(AuditEvent(action="claim.approved"))


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
            event = inherited()
            assert event.actor == Actor(type="user", id="2")
            assert event.context == AuditContext(request_id="r-1", trace_id="t-1")
        assert inherited().actor == Actor(type="user", id="1")
        assert inherited().context == AuditContext(request_id="r-1")
    assert inherited().actor is None
    assert inherited().context is None


def test_the_block_ends_with_an_error_too() -> None:
    """Nothing stays bound after an error in the block."""
    with pytest.raises(RuntimeError), bind(tenant="acme"):
        raise RuntimeError
    assert inherited().tenant is None


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
        seen.append(inherited())
        with bind(tenant="thread"):
            bound.set()
            checked.wait(10)
            seen.append(inherited())

    thread = threading.Thread(target=work)
    with bind(tenant="main"):
        thread.start()
        assert bound.wait(10)
        assert inherited().tenant == "main"
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
            event = inherited()
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
