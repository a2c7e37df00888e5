"""The Django project of the tests. A process can have only one."""

from typing import Any

import django
from django.conf import settings

from pgaudit import AuditEvent
from pgaudit.recording.context import with_awaited_actor, with_bound_context
from tests.support.events import inheriting_event

urlpatterns: list[object] = []


def configure() -> None:
    """Configures Django if it is not configured; each test sets the database of its connection."""
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}},
            ROOT_URLCONF=__name__,
            SECRET_KEY="of the tests",
            USE_TZ=True,
        )
        django.setup()


class User:
    """The attributes of Django's user that the middleware reads."""

    def __init__(self, pk: int | None) -> None:
        self.pk = pk
        self.is_authenticated = pk is not None


def found() -> dict[str, Any]:
    """Returns the context and actor that an event recorded here would inherit."""
    return described(inheriting_event())


def described(event: AuditEvent) -> dict[str, Any]:
    """Returns the context of an event, and its actor."""
    context = event.context.model_dump(exclude_none=True) if event.context else {}
    return context | {"actor": event.actor and str(event.actor)}


async def found_async() -> dict[str, Any]:
    """``found`` in an asynchronous view, where the actor may have to be awaited."""
    (event,) = await with_awaited_actor([AuditEvent(action="claim.approved")])
    return described(with_bound_context(event, look_up=False))
