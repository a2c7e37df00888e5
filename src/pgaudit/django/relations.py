"""Many-to-many relations of a tracked model: which keys are added to them and removed."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models.signals import m2m_changed, pre_delete

from pgaudit.django.classes import Tracked, relations_of, table_of, tracked_as
from pgaudit.django.statements import announce_relation
from pgaudit.events import AuditEvent, Change
from pgaudit.recording.row_changes import Described, RowChange
from pgaudit.recording.row_values import MASKED, Operation, row_value

ENDS: dict[str, Operation] = {"post_add": "insert", "pre_remove": "delete", "pre_clear": "delete"}
Owners = Iterable[tuple[Any, list[Any]]]


def connect(tracked: Tracked) -> None:
    """Connects receivers for each relation of the model, and for the deletion of what it leads to."""
    for field in relations_of(tracked.model, tracked.fields):
        through = field.remote_field.through
        m2m_changed.connect(partial(_changed, field), sender=through, weak=False, dispatch_uid=f"pgaudit.track.{field}")
        for other in apps.get_models():
            if issubclass(other, field.related_model):
                receiver = partial(_other_deleted, field)
                pre_delete.connect(receiver, sender=other, weak=False, dispatch_uid=f"pgaudit.track.{field}")


def _changed(field: Any, action: str, instance: Any, using: str, **signal: Any) -> None:
    """Records a change through the manager of either end."""
    through = field.remote_field.through
    if action.startswith("pre_"):  # the transaction of add() is around that of the signals
        announce_relation(connections[using], table_of(through), enclosing=2 if action == "pre_add" else 1)
    if operation := ENDS.get(action):
        owners = _owners(
            field, using, instance, signal["pk_set"], reverse=signal["reverse"], stored=operation == "delete"
        )
        _record(field, using, operation, owners)


def _other_deleted(field: Any, instance: Any, using: str, **_signal: Any) -> None:
    """Records that instances lose the one that is deleted."""
    owners = _owners(field, using, instance, None, reverse=True, stored=True)
    _record(field, using, "delete", [(key, keys) for key, keys in owners if key != instance.pk or not _is_own(field)])


def _is_own(field: Any) -> bool:
    """Returns whether a relation leads back to its own model."""
    return field.related_model is field.model


def _owners(  # noqa: PLR0913 - what the signal says
    field: Any, using: str, instance: Any, keys: set[Any] | None, *, reverse: bool, stored: bool
) -> Owners:
    """Returns the keys of the tracked instances, and of those that each of them gains or loses.

    :param keys: at the other end from the instance; None for all.
    :param stored: whether only keys count that the relation has.
    """
    own, other = field.m2m_field_name(), field.m2m_reverse_field_name()
    if reverse:
        own, other = other, own
    if stored:
        rows = field.remote_field.through._default_manager.using(using).filter(**{own: instance})  # noqa: SLF001
        found = set(rows.values_list(other, flat=True))
        keys = found if keys is None else found & keys
    at_other_end = sorted(keys or (), key=str)
    if reverse:
        return [(key, [instance.pk]) for key in at_other_end]
    return [(instance.pk, at_other_end)] if at_other_end else []


def _record(field: Any, using: str, operation: Operation, owners: Owners) -> None:
    tracked = tracked_as(field.model)
    if tracked is None or field.name not in {known.name for known in relations_of(tracked.model, tracked.fields)}:
        return
    conn = connections[using]
    table = conn.ops.quote_name(table_of(field.remote_field.through))
    events = [_event(tracked.described, field, operation, key, keys) for key, keys in owners]
    if events:
        tracked.audit.record_uncaptured(conn, *(RowChange(table, operation, event) for event in events))


def _event(described: Described, field: Any, operation: Operation, key: Any, keys: list[Any]) -> AuditEvent:
    """Returns the event of an instance that gains or loses others."""
    path, side = (f"{field.name}.added", "after") if operation == "insert" else (f"{field.name}.removed", "before")
    value = MASKED if field.name in described.mask else [row_value(other) for other in keys]
    return described.event("update", ([key], [key]), [Change(path=path, **{side: value})])
