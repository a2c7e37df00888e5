"""What each transaction has flushed: SQLAlchemy forgets the values before a flush at its end."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event
from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction, UOWTransaction, object_session
from sqlalchemy.orm.attributes import instance_state

from pgaudit.recording.row_values import Operation
from pgaudit.sqlalchemy.attributes import columns_of, stored_before


@dataclass(frozen=True, slots=True)
class Flushed:
    """What has become of an object since its transaction began, and the values that were replaced."""

    operation: Operation
    before: dict[str, Any]

    def then(self, later: "Flushed") -> "Flushed":
        """Returns both as one: what was there first counts."""
        operation = "insert" if self.operation == "insert" and later.operation == "update" else later.operation
        return Flushed(operation, later.before | self.before)


@dataclass(slots=True)
class Flush:
    """A flush that is running: what it writes tracked objects through, and the values that it replaces.

    Some of them SQLAlchemy forgets during the flush: those that an SQL expression replaces.
    """

    connections: set[Connection] = field(default_factory=set)
    replaced: dict[InstanceState[Any], dict[str, Any]] = field(default_factory=dict)
    before: dict[InstanceState[Any], dict[str, Any]] = field(default_factory=dict)  # of tracked objects: all values


Memory = dict[InstanceState[Any], Flushed]

flushes: Final[WeakKeyDictionary[Session, Flush]] = WeakKeyDictionary()
_memories: Final[WeakKeyDictionary[Session, Memory]] = WeakKeyDictionary()
_at_savepoint: Final[WeakKeyDictionary[SessionTransaction, Memory]] = WeakKeyDictionary()


def flushed_in(session: Session | None, state: InstanceState[Any]) -> Flushed | None:
    """Returns what the session's transaction has flushed of an object; None if nothing."""
    return _memories.get(session, {}).get(state) if session else None


def flushed_states(context: UOWTransaction) -> Iterator[tuple[InstanceState[Any], Operation]]:
    """Yields the objects that a flush has written, and how, until it has ended."""
    states = cast("dict[InstanceState[Any], tuple[bool, bool]]", context.states)
    for state, (is_deleted, is_only_listed) in states.items():
        if not is_only_listed:
            yield state, "delete" if is_deleted else "update" if state.key else "insert"


def flush_of(obj: object) -> Flush:
    """Returns the flush that is running in an object's session."""
    return flushes.setdefault(cast("Session", object_session(obj)), Flush())


def replaced_by_flush(state: InstanceState[Any], operation: Operation) -> dict[str, Any]:
    """Returns the values that a flush replaces; of a deleted object all of them, as far as they are loaded."""
    if operation == "insert":
        return {}
    names = columns_of(state.mapper).keys()
    before = stored_before(state, names)
    return before if operation == "delete" else {name: before[name] for name in before if name in state.committed_state}


@event.listens_for(Mapper, "before_update")
def _note(_mapper: Mapper[Any], _conn: Connection, obj: object) -> None:
    state = instance_state(obj)
    flush_of(obj).replaced[state] = replaced_by_flush(state, "update")


@event.listens_for(Session, "after_flush")
def _remember(session: Session, context: UOWTransaction) -> None:
    memory, flush = _memories.setdefault(session, {}), flushes.get(session, Flush())
    for state, operation in flushed_states(context):
        replaced = replaced_by_flush(state, operation) | flush.replaced.get(state, {})
        known = {
            name: value
            for name, value in flush.before.get(state, {}).items()
            if name in replaced or operation == "delete"
        }
        flushed = Flushed(operation, replaced | known)
        memory[state] = memory[state].then(flushed) if state in memory else flushed


@event.listens_for(Session, "after_transaction_create")
def _keep(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        _at_savepoint[transaction] = dict(_memories.get(session, {}))


@event.listens_for(Session, "after_soft_rollback")
def _go_back(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested and transaction in _at_savepoint:
        _memories[session] = _at_savepoint[transaction]


@event.listens_for(Session, "after_transaction_end")
def _forget(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        _memories.pop(session, None)
