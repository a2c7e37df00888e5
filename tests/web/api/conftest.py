"""A log of a few events, and the API as users of several kinds see it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import psycopg
import pytest
from starlette.requests import HTTPConnection

from pgaudit import AuditEvent, Change, Settings
from pgaudit.events import Actor, AuditContext
from pgaudit.web import create_app
from pgaudit.web.access import Action, Scope
from tests.support.http import BEARER, client_of
from tests.support.jobs import record_persist_and_commit

SECRET = "DE89 3704 0044 0532 0130 00"


@dataclass
class Staff:
    """An access for one user, who is logged in."""

    seen: Scope = field(default_factory=Scope)
    hidden: frozenset[str] = frozenset()
    actions: frozenset[Action] = frozenset({"read", "export"})

    def user(self, request: HTTPConnection) -> object:
        """Returns the user."""
        assert request
        return "anna"

    def allows(self, user: object, action: Action) -> bool:
        """Returns whether they may do it."""
        assert user
        return action in self.actions

    def scope(self, user: object) -> Scope:
        """Returns what they see."""
        assert user
        return self.seen

    def mask(self, user: object, path: str, value: object) -> object:
        """Hides the paths."""
        assert user
        return "hidden" if path in self.hidden else value


@pytest.fixture
def recorded(conn: psycopg.Connection) -> list[AuditEvent]:
    """The events of the log: 30 of two tenants, with a secret in each."""
    events = [
        AuditEvent(
            action="claim.approved" if number % 3 else "claim.denied",
            actor=Actor(type="user", id=str(number % 4), name=f"Name {number % 4}"),
            targets=[f"claim:{number % 5}", "policy:a/b"],
            tenant="north" if number % 2 else "south",
            outcome="success" if number % 3 else "denied",
            context=AuditContext(request_id=f"r-{number % 7}", ip="192.0.2.1"),
            changes=[Change(path="iban", before=None, after=SECRET)],
            data={"id": 12345678901234567890, "iban": SECRET, "number": number},
        )
        for number in range(30)
    ]
    assert record_persist_and_commit(conn, *events) == []
    return events


Opened = Callable[[Staff], httpx.Client]


@pytest.fixture
def as_user(settings: Settings, recorded: list[AuditEvent]) -> Iterator[Opened]:
    """Opens a client of an application with the access and the recorded events."""
    assert recorded
    with ExitStack() as stack:
        yield lambda access: stack.enter_context(client_of(create_app(settings, access)))


@pytest.fixture
def api(client: httpx.Client, recorded: list[AuditEvent]) -> httpx.Client:
    """A client with the admin token of an application with the recorded events."""
    assert recorded
    client.headers.update(BEARER)
    return client
