"""When the Django middleware loads the user: once, and only for a request that records something."""

import asyncio
from typing import Any

import pytest
from django.http import HttpResponse, JsonResponse
from django.test import AsyncRequestFactory, RequestFactory
from django.utils.functional import SimpleLazyObject

from pgaudit import identify
from pgaudit.middleware.django import audit_middleware
from tests.support import django_project
from tests.support.django_project import User, found, found_async


@pytest.fixture(autouse=True)
def configured() -> None:
    """Configures Django before any test."""
    django_project.configure()


LOADED: list[int] = []


def load(pk: int) -> User:
    """Loads the user as a synchronous backend does, which Django must not call in the event loop."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    LOADED.append(pk)
    return User(pk)


def with_session(request: Any) -> Any:
    """Returns a request of user 42 as Django's own middleware leaves it: the user is not loaded yet."""
    request.user = SimpleLazyObject(lambda: load(42))
    return request


@pytest.fixture
def loaded() -> list[int]:
    """The ids of the users that were loaded."""
    LOADED.clear()
    return LOADED


def test_a_page_that_records_nothing_loads_no_user(loaded: list[int]) -> None:
    """A view that records nothing does not load the user, so Django does not send ``Vary: Cookie``."""
    audit_middleware(lambda _: HttpResponse())(with_session(RequestFactory().get("/")))
    assert loaded == []


def test_the_user_is_loaded_once(loaded: list[int]) -> None:
    """The user is loaded once, even if several events are recorded and the view reads the user as well."""
    seen: list[Any] = []

    def view(request: Any) -> HttpResponse:
        seen.extend([found()["actor"], f"user:{request.user.pk}", found()["actor"]])
        return HttpResponse()

    audit_middleware(view)(with_session(RequestFactory().get("/")))
    assert (seen, loaded) == (["user:42"] * 3, [42])


def test_a_view_that_authenticates_by_itself_names_the_actor() -> None:
    """A user that the view sets as request.user, or names with identify, is the actor."""
    seen: list[Any] = []

    def view(request: Any) -> HttpResponse:
        seen.append(found()["actor"])
        request.user = User(7)
        seen.append(found()["actor"])
        identify(actor="key:1")
        seen.append(found()["actor"])
        return HttpResponse()

    for _ in range(2):
        audit_middleware(view)(RequestFactory().get("/"))
    assert seen == [None, "user:7", "key:1"] * 2


@pytest.mark.anyio
@pytest.mark.parametrize("loads", ["user", "auser"])
async def test_asynchronous_views_work_with_backends_that_are_synchronous(loads: str, loaded: list[int]) -> None:
    """An asynchronous view has an actor with a backend without aget_user; a loaded user is not loaded again."""

    async def view(request: Any) -> HttpResponse:
        if loads == "auser":
            vars(request)["_acached_user"] = User(42)  # what auser() leaves, with a backend that has aget_user
        return JsonResponse(await found_async())

    response = await audit_middleware(view)(with_session(AsyncRequestFactory().get("/")))
    assert (b'"user:42"' in response.content, loaded) == (True, [42] if loads == "user" else [])
