"""``changes_of``: what an event of the application's own says about an object that it changes."""

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from sqlalchemy import ClauseElement, Column, inspect
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.orm import InstanceState, Session

from pgaudit.errors import InvalidEvent, UntrackedChange
from pgaudit.events import Change
from pgaudit.recording.row_values import Operation, changes_between
from pgaudit.sqlalchemy.attributes import UNKNOWN, chosen_by_database, chosen_columns, present_values, stored_values
from pgaudit.sqlalchemy.memory import Flushed, flushed_in, replaced_by_flush

FORGOTTEN: Final = (
    "the value of {} before the change is not known: it was not loaded when it was replaced. Load the {} first, such "
    "as with session.refresh(obj), or call changes_of before the flush"
)
ASYNCHRONOUS: Final = (
    "{} has to be read from the database: await session.run_sync(lambda _: changes_of(obj)), or load it before"
)


def changes_of(obj: object, *, fields: Collection[str] | None = None, mask: Collection[str] = ()) -> tuple[Change, ...]:
    """Returns the changes of a mapped object in its session's transaction, flushed or not, for an event about it.

    >>> claim.status = "approved"
    >>> session.flush()
    >>> changes = changes_of(claim, fields=["status"])
    >>> audit.record(session, AuditEvent(action="claim.approved", target=f"claim:{claim.id}", changes=changes))

    A new object has each value that is not null, a deleted one the values that it had. Values that were replaced
    without having been loaded, and those that the database has chosen, are read with the session's connection.

    :param fields: the attributes to include; all with a column when left out.
    :param mask: attributes whose values are recorded as ``"***"``.
    :raises InvalidEvent: it is not a mapped object, or has no such attribute.
    :raises UntrackedChange: the value before or after is not known; the message says what to do.
    """
    state = cast("InstanceState[Any] | None", inspect(obj, raiseerr=False))
    if not isinstance(state, InstanceState):
        raise InvalidEvent(f"{type(obj).__name__} is not an object of a mapped class")
    columns = chosen_columns(state.mapper, fields, mask)
    done = flushed_in(state.session, state)
    net = net_change(state, done)
    before = {name: value for name, value in net.before.items() if name in columns}
    flushed = done.before.keys() if done else set[str]()
    before |= _read(
        state, {name for name, value in before.items() if value is UNKNOWN} | _missing(net, columns), flushed
    )
    after = _after(state, net.operation, columns, before)
    return changes_between(net.operation, before, after, mask)


def net_change(state: InstanceState[Any], done: Flushed | None) -> Flushed:
    """Returns what the transaction has flushed of an object, together with what the next flush will do."""
    session = state.session
    deleted = state.deleted or (session is not None and state.obj() in session.deleted)
    operation: Operation = "delete" if deleted else "update" if state.key else "insert"
    coming = Flushed(operation, replaced_by_flush(state, operation))
    return done.then(coming) if done else coming


def _missing(net: Flushed, names: Collection[str]) -> set[str]:
    """Returns the names of values of a deleted object that are not loaded."""
    return set(names) - net.before.keys() if net.operation == "delete" else set()


def _after(
    state: InstanceState[Any], operation: Operation, columns: Mapping[str, Column[Any]], before: Collection[str]
) -> dict[str, Any]:
    """Returns the present values, as far as they can have changed."""
    if operation == "delete":
        return {}
    after = present_values(state, columns)
    for name, value in after.items():
        if isinstance(value, ClauseElement) or hasattr(value, "__clause_element__"):
            raise UntrackedChange(
                f"the database computes {name} of {_name(state)}: call session.flush() before changes_of"
            )
    wanted = chosen_by_database(columns) if operation == "insert" else before
    return after | _read(state, {name for name in wanted if state.key and name not in state.dict}, ())


def _read(state: InstanceState[Any], names: Collection[str], flushed: Collection[str]) -> dict[str, Any]:
    """Reads values of the object's row.

    :param flushed: names of values that the database has no more.
    """
    if not names:
        return {}
    texts = ", ".join(sorted(names))
    if state.session is None or state.deleted or not state.key or set(names) & set(flushed):
        raise UntrackedChange(FORGOTTEN.format(texts, _name(state)))
    try:
        conn = connection_of(state.session, state)
        found = stored_values(conn, state.mapper, [state.key[1]], names)
    except MissingGreenlet:
        raise UntrackedChange(ASYNCHRONOUS.format(texts)) from None
    return found.get(tuple(state.key[1]), {})


def connection_of(session: Session, state: InstanceState[Any]) -> Any:
    """Returns the connection that the session writes an object with."""
    return session.connection(bind_arguments={"mapper": state.mapper})


def _name(state: InstanceState[Any]) -> str:
    return state.mapper.class_.__name__
