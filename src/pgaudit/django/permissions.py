"""``PGAUDIT["PERMISSIONS"]``: records changes of groups and permissions as events.

=======================================================  ================================================
``user.groups.added``, ``user.groups.removed``           the target is the user; ``data`` has the groups
``user.permissions.added``, ``….removed``                the target is the user; ``data`` has the permissions
``group.permissions.added``, ``….removed``               the target is the group; ``data`` has the permissions
=======================================================  ================================================

``data`` holds primary keys. Changes of ``is_staff``, ``is_superuser`` and ``is_active`` are not recorded here: they are
fields of the user model, so record them as you record its other fields.
"""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models.signals import m2m_changed

from pgaudit.django.audit_log import audit
from pgaudit.django.options import options
from pgaudit.events import AuditEvent

VERBS = {"post_add": "added", "post_remove": "removed", "pre_clear": "removed"}


def connect() -> None:
    """Connects a receiver for each of the three relations. A custom user model may lack some of them."""
    relations: list[tuple[Any, str, str]] = [
        (get_user_model(), "user", "groups"),
        (get_user_model(), "user", "user_permissions"),
        (Group, "group", "permissions"),
    ]
    for model, holder, name in relations:
        try:
            field = model._meta.get_field(name)  # noqa: SLF001 - documented by Django
        except FieldDoesNotExist:
            continue
        receiver = partial(record_change, field, holder)
        m2m_changed.connect(receiver, sender=field.remote_field.through, weak=False, dispatch_uid=f"pgaudit.{field}")


def record_change(field: Any, holder: str, action: str, using: str, **signal: Any) -> None:
    """Records one event for each user or group that a change of the relation affects."""
    if action not in VERBS or using != options().alias:
        return
    name = field.name.removeprefix("user_")
    events = [
        AuditEvent(action=f"{holder}.{name}.{VERBS[action]}", target=f"{holder}:{pk}", data={name: others})
        for pk, others in changed(field, using, **signal)
    ]
    audit.record(connections[using], *events)


def changed(
    field: Any, using: str, instance: Any, pk_set: set[Any] | None, *, reverse: bool, **_signal: Any
) -> Iterable[tuple[Any, list[Any]]]:
    """Yields the key of each affected user or group, with the keys of the groups or permissions gained or lost.

    :param pk_set: keys at the other end of the relation; None when the instance loses all of them (``clear``).
    :param reverse: whether the instance is the group or permission, instead of the one that holds it.
    """
    own, other = field.m2m_field_name(), field.m2m_reverse_field_name()
    if reverse:
        own, other = other, own
    if pk_set is None:
        rows = field.remote_field.through._default_manager.using(using).filter(**{own: instance})  # noqa: SLF001 - documented by Django
        pk_set = set(rows.values_list(other, flat=True))
    if reverse:
        yield from ((pk, [instance.pk]) for pk in sorted(pk_set))
    elif pk_set:
        yield instance.pk, sorted(pk_set)
