"""What an audit event is."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Required, Self, TypedDict, Unpack, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_serializer,
    model_validator,
)

from pgaudit.errors import InvalidEvent
from pgaudit.events.json_values import JsonObject, JsonValue, Text, checked_text
from pgaudit.events.uuid7 import uuid7

Outcome = Literal["success", "failure", "denied"]
# A day from the ends of what datetime can hold: a client may read the log in any time zone.
EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)
# What the server adds to an event when it is recorded.
SERVER_STAMPS: Final = frozenset({"recorded_at", "recorded_by", "xid"})
ACTION: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class Part(BaseModel, frozen=True, extra="forbid"):
    """A frozen piece of an event that refuses what it does not know, with InvalidEvent."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidEvent(self._place(values) + describe(error)) from None

    @classmethod
    def _place(cls, values: dict[str, Any]) -> str:  # noqa: ARG003 - a subclass uses them
        """Returns a prefix for error messages that tells this part from others of its kind; empty by default."""
        return ""


def describe(error: ValidationError) -> str:
    """Returns a sentence for each invalid field."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'event'}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors()
    )


def as_actor(value: object) -> object:
    """Takes "user:42" for {"type": "user", "id": "42"}."""
    if value is None or isinstance(value, Actor | dict):
        return cast("object", value)
    return from_reference(value, "an Actor", "user:42")


def as_target(value: object) -> object:
    """Takes "claim:7" for {"type": "claim", "id": "7"}."""
    if isinstance(value, Target | dict):
        return cast("object", value)
    return from_reference(value, "a Target", "claim:7")


def from_reference(value: object, expected: str, example: str) -> dict[str, str]:
    """Returns the two parts of "type:id"."""
    if not isinstance(value, str):
        raise ValueError(f'{type(value).__name__} is not {expected} or "type:id", such as "{example}"')  # noqa: TRY004 - pydantic lets a TypeError through
    kind, _, identity = value.partition(":")
    if not (kind and identity):
        raise ValueError(f'{value!r} is not of the form "type:id", such as "{example}"')
    if identity == "None":  # f"{kind}:{thing.id}" of what has no id
        raise ValueError(
            f'{value!r} has no id: it is None, as before the first save; for one that is called "None", give {expected}'
        )
    return {"type": kind, "id": identity}


def in_utc(moment: datetime) -> datetime:
    """Returns the same moment in UTC."""
    if moment.tzinfo is None:
        raise ValueError("has no time zone; use an aware datetime, such as datetime.now(UTC)")
    if not EARLIEST <= moment < LATEST:
        raise ValueError(f"{moment} is not between the years 1 and 9999 in every time zone")
    return moment.astimezone(UTC)


def resource_and_verb(action: str) -> str:
    """Returns the action, if it is dotted lower case."""
    if not ACTION.fullmatch(action):
        raise ValueError(
            f'{action!r} is not of the form "resource.verb", lower case and dotted, such as "claim.approved"'
        )
    return action


# Kind and id are indexed together, in at most 2,704 bytes; a character takes up to four.
Kind = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(checked_text)]
Identity = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(checked_text)]


class Actor(Part, frozen=True):
    """Who did it: ``Actor(type="user", id="42")``, or "user:42" for short."""

    type: Kind = Field(description="What kind of actor: `user`, `service` …; 1 to 100 characters.")
    id: Identity = Field(description="Which one of its kind; 1 to 500 characters.")
    name: Text | None = Field(default=None, description="Its name at the time, for people to read.")
    on_behalf_of: Text | None = Field(
        default=None, description="For whom it acted, such as `user:1`, if not for itself."
    )

    def __str__(self) -> str:
        """Returns "type:id", such as "user:42"."""
        return f"{self.type}:{self.id}"


class Target(Part, frozen=True):
    """What it was done to: ``Target(type="claim", id="7")``, or "claim:7" for short."""

    type: Kind = Field(description="What kind of thing: `claim`, `policy` …; 1 to 100 characters.")
    id: Identity = Field(description="Which one of its kind; 1 to 500 characters.")
    name: Text | None = Field(default=None, description="Its name at the time, for people to read.")
    role: Text | None = Field(default=None, description="Its part in the action, where there are several targets.")

    def __str__(self) -> str:
        """Returns "type:id", such as "claim:7"."""
        return f"{self.type}:{self.id}"


class Change(Part, frozen=True):
    """What it was before and after: ``Change(path="status", before="open", after="approved")``."""

    path: Annotated[Text, Field(min_length=1)] = Field(description="What has changed: a field, or the path to one.")
    before: JsonValue = Field(default=None, description="Its value before: any JSON; null if it had none.")
    after: JsonValue = Field(default=None, description="Its value after: any JSON; null if it was removed.")

    @classmethod
    def _place(cls, values: dict[str, Any]) -> str:
        return f"change of {values['path']!r}: " if values.get("path") else ""

    @model_serializer(mode="plain")
    def _given(self) -> dict[str, Any]:
        """Serializes the fields that were given, None included: ``after=None`` says that the value was removed."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class AuditContext(Part, frozen=True):
    """Where the request came from. :func:`pgaudit.bind` fills it in for a whole request."""

    request_id: Text | None = Field(default=None, description="The request, as `X-Request-ID` names it.")
    trace_id: Text | None = Field(default=None, description="The trace of W3C or OpenTelemetry.")
    span_id: Text | None = Field(default=None, description="The span of that trace.")
    session_id: Text | None = Field(default=None, description="The user's session.")
    ip: Text | None = Field(default=None, description="The client's address.")
    user_agent: Text | None = Field(default=None, description="The client's `User-Agent`.")
    correlation_id: Text | None = Field(default=None, description="What events of several requests have in common.")
    causation_id: Text | None = Field(default=None, description="The event or message that led to this one.")
    source: Text | None = Field(
        default=None,
        description="Of a captured event: who has named the actor, `application` or `database`. Reserved.",
    )
    session_user: Text | None = Field(default=None, description="Of a captured event: the role that logged in.")
    current_user: Text | None = Field(default=None, description="Of a captured event: the role that it was set to.")
    client_address: Text | None = Field(default=None, description="Of a captured event: the address of the session.")
    application_name: Text | None = Field(default=None, description="Of a captured event: the name of the session.")


class EventValues(TypedDict, total=False):
    """Keyword arguments of AuditEvent, shorthands included."""

    id: UUID
    action: Required[str]
    occurred_at: datetime
    actor: Actor | str | None
    target: Target | str
    targets: Sequence[Target | str]
    outcome: Outcome
    reason: str | None
    changes: Sequence[Change]
    tenant: str | None
    context: AuditContext | None
    data: Mapping[str, Any]
    schema_version: int


class AuditEvent(Part, frozen=True):
    """Something that happened, ready to be recorded.

    >>> event = AuditEvent(action="claim.approved", actor="user:42", target="claim:7")
    >>> event.targets[0].id
    '7'

    ``id`` is also the idempotency key: the same event recorded twice is stored once.
    ``target=`` is short for one target; the first of several is the primary one.
    In ``data`` and ``changes``, ``Decimal``, ``date``, ``datetime``, ``UUID`` and ``Enum`` become strings.

    :raises InvalidEvent: a value cannot be recorded; the message names the field.
    """

    id: UUID = Field(
        default_factory=uuid7,
        description="Identity and idempotency key: the same id with the same content is stored once. "
        "Left out, a new UUIDv7.",
    )
    action: Annotated[str, Field(max_length=200), AfterValidator(resource_and_verb)] = Field(
        description="What was done: `resource.verb`, lower case and dotted; at most 200 characters."
    )
    occurred_at: Annotated[datetime, AfterValidator(in_utc)] = Field(
        default_factory=lambda: datetime.now(UTC),
        description="When it happened, by the application's clock. Must have a time zone; stored in UTC. "
        "Left out, now.",
    )
    actor: Annotated[Actor | None, BeforeValidator(as_actor)] = Field(
        default=None, description='Who did it: an `Actor`, or `"user:42"` for short.'
    )
    targets: tuple[Annotated[Target, BeforeValidator(as_target)], ...] = Field(
        default=(),
        description='What it was done to, the primary target first: each a `Target`, or `"claim:7"` for short. '
        "`target=` is short for a single one.",
    )
    outcome: Outcome = Field(default="success", description="`success`, `failure` or `denied`.")
    reason: Text | None = Field(default=None, description="Why it was done, failed or was denied.")
    changes: tuple[Change, ...] = Field(default=(), description="What was changed, before and after.")
    tenant: Annotated[Text, Field(max_length=500)] | None = Field(
        default=None, description="Whose data it is, in a multi-tenant application; at most 500 characters."
    )
    context: AuditContext | None = Field(
        default=None, description="Where the request came from. What is left unset here is taken from `bind`."
    )
    data: JsonObject = Field(default_factory=dict, description="Anything else: a JSON object, its keys strings.")
    schema_version: int = Field(
        default=1, ge=1, le=2_147_483_647, description="The version of what the application puts into `data`, from 1."
    )

    def __init__(self, **values: Unpack[EventValues]) -> None:
        super().__init__(**values)

    @model_validator(mode="before")
    @classmethod
    def _accept_one_target(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "target" not in given:
            return cast("object", given)
        if "targets" in given:
            raise ValueError("give target or targets, not both")
        values = cast("dict[str, Any]", given).copy()
        return values | {"targets": (values.pop("target"),)}

    def to_json(self) -> str:
        """Returns the event as it is recorded: JSON without empty fields."""
        return self.model_dump_json(exclude={name for name in OPTIONAL if not getattr(self, name)}, exclude_none=True)

    @classmethod
    def from_log(cls, event: dict[str, Any]) -> Self:
        """Returns the event of an ``audit_log.event`` value, without what the server has added."""
        return cls(**{name: value for name, value in event.items() if name not in SERVER_STAMPS})


# What an event leaves out of its JSON when it is empty. An empty string is not: it is what the caller said.
OPTIONAL = ("targets", "changes", "data")
