"""``track``: each save and each deletion of a model's instance is recorded in its transaction."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from django.apps import apps
from django.db import connections, models
from django.db.models.signals import post_save, pre_delete, pre_save

from pgaudit.django import classes, relations, statements
from pgaudit.django.classes import Tracked, chosen_fields, masked_names, table_of, tracked_as
from pgaudit.django.rows import NO_ROW, expressions_in, key_of, present_values, stored_row
from pgaudit.errors import InvalidEvent
from pgaudit.recording.audit_log import AuditLog
from pgaudit.recording.connections import refuse_outside_transaction
from pgaudit.recording.connections.django_ import DjangoTransaction
from pgaudit.recording.row_changes import Row, columns_to_record, describe_class
from pgaudit.recording.row_values import Operation

BEFORE: Final = "pgaudit_before"  # an attribute of an instance's _state, while it is saved

Sides = tuple[Mapping[str, Any], Mapping[str, Any]]  # the values before and after


def track(  # noqa: PLR0913 - by name
    audit: AuditLog,
    model: Any,
    *,
    target: str,
    action: str | None = None,
    fields: Collection[str] | None = None,
    mask: Collection[str] = (),
) -> None:
    """Records an event for each instance of a model that is saved or deleted, in its transaction.

    Call it in ``ready`` of the project's ``AppConfig``:

    >>> track(audit, Claim, target="claim", mask=["iban"])

    The events are called ``claim.created``, ``claim.updated`` and ``claim.deleted``. ``save`` reads and locks the row
    first: the event has what the database had, whatever the instance was loaded with. What a trigger captures is left
    to it. Proxies and child models count, the latter with the fields of this model, unless they are tracked themselves;
    ``QuerySet.delete`` fetches the instances. Statements that send no signals raise :class:`~pgaudit.UntrackedChange`,
    unless the table is captured; SQL as text is not seen. A further call replaces the options of the model.

    A save outside of a transaction raises ``NotInTransaction``, before anything is written: see ``ATOMIC_SAVES``.

    :param target: the type of the target; its id is the primary key.
    :param action: what the actions begin with; ``target`` when left out.
    :param fields: the fields to record, many-to-many relations included; all when left out.
    :param mask: fields whose values are recorded as ``"***"``.
    :raises InvalidEvent: it is not a model, or has no such field, or no action can be called that.
    """
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        raise InvalidEvent(f"{model!r} is not a model")
    concrete = cast("Any", model)._meta.concrete_model  # noqa: SLF001 - documented by Django
    chosen_fields(concrete, fields, mask)
    described = describe_class(target, action, audit.settings.max_event_bytes, masked_names(concrete, mask))
    tracked = Tracked(concrete, audit, described, fields)
    classes.add(tracked)
    pre_save.connect(_before_save, dispatch_uid="pgaudit.track")
    post_save.connect(_after_save, dispatch_uid="pgaudit.track")
    for sender in apps.get_models():
        if sender._meta.concrete_model is concrete:  # noqa: SLF001
            pre_delete.connect(_before_delete, sender=sender, dispatch_uid="pgaudit.track")
    relations.connect(tracked)
    statements.install()


def _before_save(sender: Any, instance: Any, using: str, **_signal: Any) -> None:
    """Keeps the row as it is; other transactions cannot change it until this one ends."""
    if tracked := tracked_as(sender):
        refuse_outside_transaction(connections[using])
        setattr(instance._state, BEFORE, stored_row(instance, _fields(tracked, sender), using, lock=True))  # noqa: SLF001


def _after_save(sender: Any, instance: Any, using: str, *, created: bool, raw: bool, **signal: Any) -> None:
    """Records what was saved."""
    tracked = tracked_as(sender)
    if tracked is None:
        return
    before = instance._state.__dict__.pop(BEFORE, NO_ROW)  # noqa: SLF001
    fields = _saved(_fields(tracked, sender), sender, signal.get("update_fields"), raw=raw)
    after = present_values(instance, fields)
    if computed := expressions_in(after):
        after |= stored_row(instance, computed, using)
    _record(tracked, instance, using, "insert" if created else "update", (before, after))


def _before_delete(sender: Any, instance: Any, using: str, origin: Any = None, **_signal: Any) -> None:
    """Records what will be deleted; of an instance that was not fetched for that, as its row has it."""
    if tracked := tracked_as(sender):
        fields = _fields(tracked, sender)
        row: Mapping[str, Any] = present_values(instance, fields)
        if origin is instance or row.keys() != fields.keys() or expressions_in(row):
            row = stored_row(instance, fields, using, lock=True)
        if row:
            _record(tracked, instance, using, "delete", (row, NO_ROW))


def _fields(tracked: Tracked, sender: Any) -> dict[str, Any]:
    """Returns the fields to record. What a migration sees of a model may lack some of them."""
    if sender.__module__ != classes.OF_MIGRATIONS:
        return chosen_fields(tracked.model, tracked.fields, ())
    all_fields = chosen_fields(sender, None, ())
    return {name: all_fields[name] for name in all_fields if tracked.fields is None or name in tracked.fields}


def _saved(fields: dict[str, Any], sender: Any, names: Collection[str] | None, *, raw: bool) -> dict[str, Any]:
    """Returns the fields that ``save`` has written; a fixture is saved table by table."""
    if raw:
        return {name: field for name, field in fields.items() if field.model is sender}
    if names is None:
        return fields
    return {name: field for name, field in fields.items() if name in names or field.name in names}


def _record(tracked: Tracked, instance: Any, using: str, operation: Operation, sides: Sides) -> None:
    """Records the change of a row, if there is one that no trigger captures."""
    conn, key = connections[using], key_of(instance)
    fields = _fields(tracked, type(instance))
    tables = {
        name: conn.ops.quote_name(table_of(field.model))
        for name, field in fields.items()
        if any(name in side for side in sides)
    }
    names = columns_to_record(DjangoTransaction(conn), operation, tables)
    if change := tracked.described.change(operation, Row(key, key, *sides), names):
        tracked.audit.record_uncaptured(conn, change)
