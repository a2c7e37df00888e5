"""``PGAUDIT["LOGINS"]``: logins, logouts and failed logins as events.

==========================  =========================================================================
``user.logged_in``          actor and target are the user
``user.logged_out``         actor and target are the user
``user.login_failed``       the target is the user with that name, or ``user:unknown``; outcome "denied"
==========================  =========================================================================

The actor of a failed login is the user who is already logged in, if any. Otherwise it has no actor; with
``PGAUDIT_REQUIRE=actor`` the actor is ``user:unknown``.
No event holds the user name that was typed in: people type their password there by mistake.
"""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed

from pgaudit.django.audit_log import audit
from pgaudit.events import Actor, AuditEvent
from pgaudit.middleware.django import reference
from pgaudit.recording.context import with_bound_context

UNKNOWN: Final = Actor(type="user", id="unknown")


def connect() -> None:
    """Connects the receivers."""
    user_logged_in.connect(record_login)
    user_logged_out.connect(record_logout)
    user_login_failed.connect(record_failure)


def record_login(user: Any, **_signal: Any) -> None:
    """Records a login in the current transaction, or in a new one."""
    if name := reference(user):
        audit.record_now(AuditEvent(action="user.logged_in", actor=name, target=name))


def record_logout(user: Any, **_signal: Any) -> None:
    """Records the logout of a user; for an anonymous visitor it records nothing."""
    if name := reference(user):
        audit.record_now(AuditEvent(action="user.logged_out", actor=name, target=name))


def record_failure(credentials: dict[str, Any], **_signal: Any) -> None:
    """Records a failed login in a transaction of its own, because the request's may be rolled back."""
    event = AuditEvent(action="user.login_failed", target=account_of(credentials), outcome="denied")
    if "actor" in audit.settings.require and with_bound_context(event).actor is None:
        event = event.model_copy(update={"actor": UNKNOWN})
    audit.record_autonomous(event)


def account_of(credentials: dict[str, Any]) -> str:
    """Returns "user:<pk>" of the user whose name was given; "user:unknown" if there is no such user or no name.

    The project's own authentication backends may use credentials without a user name.
    """
    model = get_user_model()
    name = credentials.get(model.USERNAME_FIELD) or credentials.get("username")
    if not isinstance(name, str) or "\0" in name:
        return "user:unknown"
    found = model._default_manager.filter(**{model.USERNAME_FIELD: name}).values_list("pk", flat=True).first()  # noqa: SLF001 - documented by Django
    return "user:unknown" if found is None else f"user:{found}"
