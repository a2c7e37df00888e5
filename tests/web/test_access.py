"""Access: what an application decides about a request holds everywhere, and in doubt the request is refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from pgaudit import AuditEvent, Settings, trail
from pgaudit.web import create_app
from pgaudit.web.access import ACTIONS, EVERYTHING, Access, Action, RequestUserAccess, Scope, unmasked
from pgaudit.web.guard import Guard
from tests.support.http import BEARER, client_of
from tests.support.jobs import record_persist_and_commit
from tests.web.test_admin import ADMIN, STATS, assert_problem

RETRY = "/api/v1/admin/queues/jobs/1/retry"
UNDECIDED = "The application could not decide about your access"


class Given:
    """An access that decides what a test gives it."""

    def __init__(self, **decisions: Any) -> None:
        self._decisions = {"user": "ada", "allows": True, "scope": EVERYTHING} | decisions

    def _decide(self, name: str, *arguments: object) -> Any:
        decision = self._decisions[name]
        return decision(*arguments) if callable(decision) else decision

    def user(self, request: HTTPConnection) -> Any:
        """Returns the user."""
        return self._decide("user", request)

    def allows(self, user: object, action: Action) -> bool:
        """Returns whether the user may do the action."""
        return self._decide("allows", user, action)  # type: ignore[no-any-return]

    def scope(self, user: object) -> Scope:
        """Returns what the user sees."""
        return self._decide("scope", user)  # type: ignore[no-any-return]

    mask = staticmethod(unmasked)


class NamedInHeader(AuthenticationBackend):
    """The application's own login, as far as these tests need it: the header has the name of the user."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Returns the user of a connection."""
        name = conn.headers.get("X-User")
        return (AuthCredentials(), SimpleUser(name)) if name else None


def raising(error: Exception) -> Callable[..., object]:
    """Returns a function that raises the error."""

    def fail(*_arguments: object) -> object:
        raise error

    return fail


async def truth(*_arguments: object) -> bool:
    """Returns True, once it is awaited."""
    return await asyncio.sleep(0, result=True)


def answer_for(settings: Settings, access: Access, method: str = "GET", path: str = STATS) -> httpx.Response:
    """Returns the answer of an admin route, under an access."""
    with client_of(create_app(settings, access)) as client:
        return client.request(method, path)


def test_an_access_decides_for_each_action(settings: Settings) -> None:
    """A user who may only read sees statistics and retries nothing; the sentence says what is missing."""
    reader = Given(allows=lambda _user, action: action == "read")
    assert answer_for(settings, reader).status_code == 200
    refused = answer_for(settings, reader, "POST", RETRY)
    assert_problem(refused, 403)
    assert refused.json()["detail"] == "You may not retry jobs."
    other = Given(allows=lambda _user, action: action != "read")
    for method, path in ADMIN[:2]:
        assert_problem(answer_for(settings, other, method, path), 403)


@pytest.mark.parametrize("scope", [Scope(tenants=frozenset({"north"})), Scope(query="-action:payroll.*")])
def test_the_queue_of_all_tenants_is_for_those_who_see_the_whole_trail(
    settings: Settings, scope: Scope, failed_job: int
) -> None:
    """Numbers, health and retries of the API know no tenants; the job stays as it was."""
    tenant = Given(scope=scope)
    for method, path in (*ADMIN[:2], ("POST", f"/api/v1/admin/queues/jobs/{failed_job}/retry")):
        refused = answer_for(settings, tenant, method, path)
        assert_problem(refused, 403)
        assert "whole trail" in refused.json()["detail"]
    assert answer_for(settings, Given(), "POST", f"/api/v1/admin/queues/jobs/{failed_job}/retry").status_code == 200


@pytest.mark.parametrize("user", [lambda _request: "ada", truth], ids=["plain", "asynchronous"])
def test_the_user_may_be_found_by_a_plain_or_an_asynchronous_method(
    settings: Settings, user: Callable[..., object]
) -> None:
    """A plain one runs in a thread, so that it may wait for a database."""
    assert answer_for(settings, Given(user=user)).status_code == 200


@pytest.mark.parametrize("user", [None, False, ""])
def test_without_a_user_a_request_is_401(settings: Settings, user: object) -> None:
    """None is nobody, and so is what ``request.user.is_authenticated and request.user`` returns for nobody."""
    refused = answer_for(settings, Given(user=user))
    assert_problem(refused, 401)
    assert refused.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "decisions",
    [
        {"user": raising(RuntimeError("secret"))},
        {"allows": raising(LookupError("secret"))},
        {"scope": raising(ValueError("secret"))},
        {"scope": None},
        {"scope": "north"},
        {"scope": Scope(tenants="north")},  # type: ignore[arg-type]  # n, o, r, t and h
        {"scope": Scope(query="secret of the scope")},
        {"scope": Scope(tenants=frozenset({""}))},
        {"scope": Scope(tenants=frozenset(str(number) for number in range(101)))},
    ],
)
def test_an_access_that_fails_shows_nothing(
    settings: Settings, decisions: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """403 whatever fails: the log has the error, the client does not."""
    refused = answer_for(settings, Given(**decisions))
    assert_problem(refused, 403)
    assert refused.json()["detail"].startswith(UNDECIDED)
    assert "secret" not in refused.text
    assert [record.message for record in caplog.records if "the access of the application" in record.message]


@pytest.mark.filterwarnings("ignore:coroutine 'truth' was never awaited")
@pytest.mark.parametrize("allows", [truth, "yes", 1, None, object()])
def test_only_true_allows(settings: Settings, allows: object) -> None:
    """A coroutine that is never awaited is not a yes, nor is any other value."""
    access = Given(allows=truth if allows is truth else lambda *_arguments: allows)
    assert_problem(answer_for(settings, access), 403)


def test_an_access_may_refuse_in_its_own_words(settings: Settings) -> None:
    """An HTTPException is answered as it is."""
    refused = answer_for(settings, Given(user=raising(HTTPException(403, "Only from the office."))))
    assert_problem(refused, 403)
    assert refused.json()["detail"] == "Only from the office."


def test_the_token_does_not_open_what_an_access_guards(settings: Settings) -> None:
    """With an access of the application, PGAUDIT_ADMIN_TOKEN counts for nothing."""
    with client_of(create_app(settings, Given(user=None))) as client:
        assert client.get(STATS, headers=BEARER).status_code == 401


def test_the_users_of_the_application_are_used(settings: Settings) -> None:
    """request.user of AuthenticationMiddleware: nobody 401, some users, others 403."""
    access = RequestUserAccess(allows=lambda user, action: user.display_name == "ada" and action == "read")
    app = Starlette(
        routes=[Mount("/audit", create_app(settings, access))],
        middleware=[Middleware(AuthenticationMiddleware, backend=NamedInHeader())],
    )
    with client_of(app, "/audit") as client:
        statuses = [
            client.get(STATS, headers={"X-User": name} if name else {}).status_code for name in ("", "ada", "b")
        ]
        assert statuses == [401, 200, 403]
        assert client.post(RETRY, headers={"X-User": "ada"}).status_code == 403


def test_without_the_middleware_of_the_users_everything_is_refused(settings: Settings) -> None:
    """A mount that was put outside of AuthenticationMiddleware is closed, not open."""
    refused = answer_for(settings, RequestUserAccess(allows=lambda _user, _action: True))
    assert_problem(refused, 403)


@pytest.mark.anyio
async def test_a_viewer_knows_what_they_may_do() -> None:
    """Each action was asked about once, before the page is rendered."""
    viewer = await Guard(Given(allows=lambda _user, action: action in {"read", "export"})).require(
        HTTPConnection({"type": "http", "method": "GET", "headers": []}), "read"
    )
    assert (viewer.name, [viewer.allows(action) for action in ACTIONS]) == ("ada", [True, True, False, False])


def test_a_scope_limits_what_is_found(conn: psycopg.Connection) -> None:
    """To tenants and to a search; no tenants find nothing, and the viewer's own search cannot widen it."""
    events = [
        AuditEvent(action=action, tenant=tenant)
        for tenant in ("north", "south", None)
        for action in ("claim.paid", "payroll.run")
    ]
    assert record_persist_and_commit(conn, *events) == []

    def found(scope: Scope, query: str = "") -> list[tuple[str | None, str]]:
        page = trail.search(conn, query, scope=scope.as_query())
        return [(entry.tenant, entry.action) for entry in reversed(page.entries)]

    assert len(found(Scope())) == 6
    assert found(Scope(frozenset({"north"}))) == [("north", "claim.paid"), ("north", "payroll.run")]
    assert found(Scope(frozenset({"north"}), "-action:payroll.*")) == [("north", "claim.paid")]
    assert found(Scope(frozenset())) == found(Scope(frozenset(), "action:claim.paid")) == []
    assert found(Scope(frozenset({"north"})), "tenant:south") == []
    assert found(Scope(frozenset({"north"})), "-tenant:nowhere action:claim.*") == [("north", "claim.paid")]
