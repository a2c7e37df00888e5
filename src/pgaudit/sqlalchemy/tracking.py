"""``track``: each flush records what it does to the objects of a class, in its transaction."""

# isinstance() leaves open which class a mapper is of.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, event, inspect
from sqlalchemy.orm import InstanceState, Mapper, Session, UOWTransaction, object_session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from pgaudit.errors import InvalidEvent
from pgaudit.recording.audit_log import AuditLog
from pgaudit.recording.context import with_awaited_actor
from pgaudit.recording.row_changes import RowChange, describe_class
from pgaudit.recording.row_values import Operation, id_of
from pgaudit.sqlalchemy import classes
from pgaudit.sqlalchemy.attributes import (
    UNKNOWN,
    chosen_columns,
    columns_of,
    refuse_unknown,
    stored_before,
    stored_values,
    unknown_of,
)
from pgaudit.sqlalchemy.changes import connection_of
from pgaudit.sqlalchemy.classes import Tracked, relations_of, tracked_as
from pgaudit.sqlalchemy.memory import flush_of, flushed_states, flushes
from pgaudit.sqlalchemy.relations import rows_of_relations
from pgaudit.sqlalchemy.rows import Written, row_changes
from pgaudit.sqlalchemy.statements import flushing, refuse_unexplained, watch


def track(  # noqa: PLR0913 - by name
    audit: AuditLog,
    mapped: type,
    *,
    target: str,
    action: str | None = None,
    fields: Collection[str] | None = None,
    mask: Collection[str] = (),
) -> None:
    """Records an event for each object of a class that any session inserts, updates or deletes, in its transaction.

    >>> track(audit, Claim, target="claim", mask=["status"])
    >>> session.add(Claim(id=8, status="open"))
    >>> session.commit()  # has recorded claim.created of claim:8

    Each flush sends one statement with all its events, called ``claim.created``, ``claim.updated`` and
    ``claim.deleted``. What a trigger captures is left to it. Objects of subclasses count, unless they are tracked
    themselves. Statements that change rows without a flush raise :class:`~pgaudit.UntrackedChange`, unless the table is
    captured; SQL as text is not seen. A further call replaces the options of the class.

    :param target: the type of the target; its id is the object's primary key.
    :param action: what the actions begin with; ``target`` when left out.
    :param fields: the attributes and many-to-many relations to record; all when left out.
    :param mask: attributes whose values are recorded as ``"***"``.
    :raises InvalidEvent: the class is not mapped, or has no such attribute, or no action can be called that.
    """
    mapper: object = inspect(mapped, raiseerr=False)
    if not isinstance(mapper, Mapper):
        raise InvalidEvent(f"{getattr(mapped, '__name__', type(mapped).__name__)} is not a mapped class")
    known = {*columns_of(mapper), *(relation.key for relation in relations_of(mapper))}
    refuse_unknown(mapper.class_.__name__, [*(fields or ()), *mask], known)
    described = describe_class(target, action, audit.settings.max_event_bytes, mask)
    classes.tracked[mapper] = Tracked(audit, described, fields)
    for name, listener in (("before_insert", _begin), ("before_update", _update), ("before_delete", _delete)):
        if not event.contains(mapped, name, listener):
            event.listen(mapped, name, listener, propagate=True)
    watch()


def _begin(_mapper: Mapper[Any], conn: Connection, obj: object) -> None:
    """Notes that a flush writes tracked objects through this connection."""
    flushing.setdefault(conn, [])
    flush_of(obj).connections.add(conn)


@event.listens_for(Session, "before_flush")
def _begin_relations(session: Session, *_flush: object) -> None:
    """Notes a flush of tracked objects with many-to-many relations: it begins with the rows of those."""
    for obj in (*session.deleted, *session.dirty):
        state = instance_state(obj)
        if (tracked := tracked_as(state.mapper)) and any(relations_of(state.mapper, tracked.fields)):
            _begin(state.mapper, connection_of(session, state), obj)


def _update(mapper: Mapper[Any], conn: Connection, obj: object) -> None:
    """Keeps the values that may be replaced, and reads those that were never loaded."""
    _begin(mapper, conn, obj)
    state = instance_state(obj)
    columns = columns_of(state.mapper)
    before = stored_before(state, columns)
    changes = object_session(obj).is_modified(obj, include_collections=False)  # type: ignore[union-attr]
    _keep(conn, state, before, unknown_of(before, columns) if changes else ())


def _delete(mapper: Mapper[Any], conn: Connection, obj: object) -> None:
    """Keeps the values of an object that is deleted, and reads those that are not loaded."""
    _begin(mapper, conn, obj)
    state = instance_state(obj)
    names = columns_of(state.mapper).keys()
    before = stored_before(state, names)
    _keep(conn, state, before, [name for name in names if before.get(name, UNKNOWN) is UNKNOWN])


def _keep(conn: Connection, state: InstanceState[Any], before: dict[str, Any], unknown: Collection[str]) -> None:
    tracked = tracked_as(state.mapper)
    wanted = {name for name in unknown if tracked and (tracked.fields is None or name in tracked.fields)}
    if wanted and state.key:
        before |= stored_values(conn, state.mapper, [state.key[1]], wanted).get(tuple(state.key[1]), {})
    flush_of(state.obj()).before[state] = {name: value for name, value in before.items() if value is not UNKNOWN}


@event.listens_for(Session, "after_flush")
def _record(session: Session, context: UOWTransaction) -> None:
    written: dict[tuple[AuditLog, Connection], list[Written]] = defaultdict(list)
    kept = flushes[session].before if session in flushes else {}
    for state, operation in flushed_states(context):
        if tracked := tracked_as(state.mapper):
            conn = connection_of(session, state)
            columns = chosen_columns(state.mapper, _fields(tracked, state.mapper), ())
            before = _before(state, operation, columns) | kept.get(state, {})
            written[tracked.audit, conn].append(Written(state, operation, tracked, columns, before))
    for conn in {conn for _, conn in written}:
        refuse_unexplained(conn, [each for objects in written.values() for each in objects])
    for (audit, conn), objects in written.items():
        objects.sort(key=lambda each: (each.state.insert_order or 0, id_of(each.key)))
        if changes := [*row_changes(conn, objects), *_relations(conn, objects)]:
            audit.record_uncaptured(conn, *_with_actor(changes))
    _end(session)


def _fields(tracked: Tracked, mapper: Mapper[Any]) -> Collection[str] | None:
    return None if tracked.fields is None else [name for name in tracked.fields if name in columns_of(mapper)]


def _before(state: InstanceState[Any], operation: Operation, columns: Collection[str]) -> dict[str, Any]:
    """Returns the known values before the flush; none of a new object."""
    before = {} if operation == "insert" else stored_before(state, columns)
    return {name: value for name, value in before.items() if value is not UNKNOWN}


def _relations(conn: Connection, objects: Sequence[Written]) -> Iterator[RowChange]:
    for written in objects:
        if written.operation != "delete":
            yield from rows_of_relations(conn, written.tracked, written.state)


def _with_actor(changes: Sequence[RowChange]) -> Sequence[RowChange]:
    """Returns the changes with the actor of an asynchronous request, which may have to be awaited."""
    if not in_greenlet():
        return changes
    events = await_only(with_awaited_actor([change.event for change in changes]))
    return [replace(change, event=event) for change, event in zip(changes, events, strict=True)]


@event.listens_for(Session, "after_soft_rollback")
def _end(session: Session, _transaction: object = None) -> None:
    """Ends a flush, whether it has failed or not."""
    if flush := flushes.pop(session, None):
        for conn in flush.connections:
            flushing.pop(conn, None)
