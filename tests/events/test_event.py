"""Events: what they accept, their JSON, and that they are immutable."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from pgaudit import Actor, AuditContext, AuditEvent, Change, InvalidEvent, PgauditError, Target


def test_an_action_is_all_an_event_needs() -> None:
    """Id, time, outcome and version have defaults; empty fields are left out of the JSON."""
    event = AuditEvent(action="claim.approved")
    assert event.id.version == 7
    assert event.outcome == "success"
    assert event.schema_version == 1
    assert event.occurred_at.tzinfo is UTC
    assert event.to_json() == (
        f'{{"id":"{event.id}","action":"claim.approved",'
        f'"occurred_at":"{event.occurred_at.isoformat().replace("+00:00", "Z")}",'
        '"outcome":"success","schema_version":1}'
    )


def test_a_reference_stands_for_an_actor_or_a_target() -> None:
    """A string such as "user:42" is short for type and id; the first colon divides them."""
    event = AuditEvent(action="claim.approved", actor="user:42", targets=["claim:7", "file:s3://bucket"])
    assert event.actor == Actor(type="user", id="42")
    assert event.targets == (Target(type="claim", id="7"), Target(type="file", id="s3://bucket"))


def test_target_is_short_for_one_target() -> None:
    """target= accepts what an element of targets accepts."""
    whole = Target(type="claim", id="7", role="primary")
    assert AuditEvent(action="claim.approved", target=whole).targets == (whole,)
    assert AuditEvent(action="claim.approved", target="claim:7").targets == (Target(type="claim", id="7"),)


def test_a_time_is_kept_in_utc() -> None:
    """A time in any zone is converted to UTC."""
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    event = AuditEvent(action="claim.approved", occurred_at=noon)
    assert event.occurred_at == noon
    assert event.occurred_at.hour == 10


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (AuditEvent(action="claim.approved"), "action"),
        (Actor(type="user", id="42"), "id"),
        (Target(type="claim", id="7"), "id"),
        (Change(path="status"), "path"),
        (AuditContext(), "ip"),
    ],
)
def test_events_and_their_parts_are_frozen(part: Any, field: str) -> None:
    """Fields of events, actors, targets, changes and contexts cannot be assigned."""
    with pytest.raises(ValidationError, match="frozen"):
        setattr(part, field, "x")


ACTOR = Actor(type="user", id="42")
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"action": "approve"}, "action"),
    ({"action": "Claim.approved"}, "action"),
    ({"action": "claim..approved"}, "action"),
    ({"action": "claim.approved\n"}, "action"),
    ({"action": "claim." + "x" * 200}, "action"),
    ({"colour": "red"}, "colour"),
    ({"actor": {"type": "user", "id": "42", "colour": "red"}}, "actor: colour"),
    ({"actor": "user"}, "actor"),
    ({"actor": "user:"}, "actor"),
    ({"actor": {"type": "", "id": "42"}}, "actor: type"),
    ({"actor": {"type": "user", "id": "x" * 501}}, "actor: id"),
    ({"actor": "user:4\x002"}, "actor: id"),
    ({"target": "claim"}, "targets.0"),
    ({"targets": ["claim:7", "8"]}, "targets.1"),
    ({"target": "claim:7", "targets": ["claim:7"]}, "event: give target or targets, not both"),
    ({"outcome": "maybe"}, "outcome"),
    ({"occurred_at": datetime(2026, 3, 1)}, "occurred_at"),  # noqa: DTZ001 - naive on purpose
    ({"occurred_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "occurred_at"),
    ({"reason": "a\0b"}, "reason"),
    ({"reason": "\ud800"}, "reason"),
    ({"tenant": "\udfff"}, "tenant"),
    ({"context": {"ip": "\0"}}, "context: ip"),
    ({"context": {"host": "x"}}, "context: host"),
    ({"changes": [{"path": "status", "after": float("nan")}]}, "changes.0: change of .status.: after"),
    ({"changes": [{"path": ""}]}, "changes.0: path"),
    ({"data": [1]}, "data"),
    ({"schema_version": 0}, "schema_version"),
    ({"schema_version": 2**31}, "schema_version"),
    ({"id": "42"}, "id"),
]


@pytest.mark.parametrize(("values", "field"), REFUSED, ids=[f"{field}-{n}" for n, (_, field) in enumerate(REFUSED)])
def test_a_refusal_names_the_field(values: dict[str, Any], field: str) -> None:
    """An invalid value raises InvalidEvent, which begins with the field."""
    with pytest.raises(InvalidEvent, match=f"^{field}") as refusal:
        AuditEvent(**({"action": "claim.approved"} | values))
    assert isinstance(refusal.value, PgauditError)
    assert isinstance(refusal.value, ValueError)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"actor": "user"}, """actor: 'user' is not of the form "type:id", such as "user:42\""""),
        ({"target": "claim"}, """targets.0: 'claim' is not of the form "type:id", such as "claim:7\""""),
        ({"actor": 42}, """actor: int is not an Actor or "type:id", such as "user:42\""""),
        ({"target": 7}, """targets.0: int is not a Target or "type:id", such as "claim:7\""""),
        ({"target": None}, """targets.0: NoneType is not a Target or "type:id", such as "claim:7\""""),
        ({"target": ACTOR}, """targets.0: Actor is not a Target or "type:id", such as "claim:7\""""),
        ({"actor": ("user", "42")}, """actor: tuple is not an Actor or "type:id", such as "user:42\""""),
    ],
)
def test_an_invalid_reference_is_answered_with_the_right_form(values: dict[str, Any], says: str) -> None:
    """The message has an example of an actor or a target."""
    with pytest.raises(InvalidEvent) as refusal:
        AuditEvent(**({"action": "claim.approved"} | values))
    assert str(refusal.value) == says


def test_all_wrong_fields_are_named_at_once() -> None:
    """One error names all invalid fields of the event, so that they can be corrected at once."""
    wrong: dict[str, Any] = {"action": "x", "outcome": "maybe"}
    with pytest.raises(InvalidEvent, match=r"action: .*; outcome: "):
        AuditEvent(**wrong)


def test_an_event_without_an_action_is_refused() -> None:
    """The action is the one field without a default."""
    nothing: dict[str, Any] = {}
    with pytest.raises(InvalidEvent, match="action: Field required"):
        AuditEvent(**nothing)


def test_parts_raise_invalid_event() -> None:
    """Actor, Target, Change and AuditContext raise InvalidEvent themselves."""
    for make in (
        lambda: Actor(type="user", id=""),
        lambda: Target(type="", id="7"),
        lambda: Change(path="status", before={1: 2}),
        lambda: AuditContext(ip="\0"),
    ):
        with pytest.raises(InvalidEvent):
            make()


def test_from_log_returns_the_event() -> None:
    """from_log() makes the event of a row of the log, without its stamps."""
    event = AuditEvent(action="claim.approved", actor="user:42", target="claim:7", reason="", data={"a": None})
    logged = event.model_dump(mode="json", exclude_none=True) | {"recorded_at": "2026-03-01T00:00:00Z"}
    assert AuditEvent.from_log(logged | {"data": {"a": None}}) == event


def test_a_null_of_a_change_is_kept() -> None:
    """``after=None`` is stored as null; a value that was not given is left out."""
    changes = [
        Change(path="holder", before="Ada", after=None),
        Change(path="note", before=None, after=None),
        Change(path="status", after="open"),
    ]
    event = AuditEvent(action="claim.changed", changes=changes)
    recorded = json.loads(event.to_json())
    assert recorded["changes"] == [
        {"path": "holder", "before": "Ada", "after": None},
        {"path": "note", "before": None, "after": None},
        {"path": "status", "after": "open"},
    ]
    assert AuditEvent.from_log(recorded).to_json() == event.to_json()


def test_the_error_of_a_change_names_its_path() -> None:
    """The error names the path of the change, because an event may have many changes."""
    with pytest.raises(InvalidEvent, match=r"^change of 'timeout': after: object has no JSON form"):
        Change(path="timeout", before=1, after=object())
