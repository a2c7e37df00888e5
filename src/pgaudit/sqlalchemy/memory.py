"""What each transaction has flushed: SQLAlchemy forgets the values before a flush at its end."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event
from sqlalchemy.orm import InstanceState, Session, SessionTransaction, UOWTransaction

from pgaudit.recording.row_changes import Operation
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
    """What a flush that is running writes tracked objects through, and the values that had to be read for it."""

    connections: set[Connection] = field(default_factory=set)
    read: dict[InstanceState[Any], dict[str, Any]] = field(default_factory=dict)


Memory = dict[InstanceState[Any], Flushed]

flushes: Final[WeakKeyDictionary[Session, Flush]] = WeakKeyDictionary()
_memories: Final[WeakKeyDictionary[Session, Memory]] = WeakKeyDictionary()
_at_savepoint: Final[WeakKeyDictionary[SessionTransaction, Memory]] = WeakKeyDictionary()


def flushed_in(session: Session | None, state: InstanceState[Any]) -> Flushed | None:
    """Returns what the session's transaction has flushed of an object; None if nothing."""
    return _memories.get(session, {}).get(state) if session else None


def flushed_states(flush: UOWTransaction) -> Iterator[tuple[InstanceState[Any], Operation]]:
    """Yields the objects that a flush has written, and how, until it has ended."""
    for state, (is_deleted, is_only_listed) in flush.states.items():
        if not is_only_listed or any(state in states for states, _ in flush.post_update_states.values()):
            yield state, "delete" if is_deleted else "update" if state.key else "insert"


def before_flush_of(state: InstanceState[Any], operation: Operation) -> dict[str, Any]:
    """Returns the values that a flush replaces; of a deleted object all of them, as far as they are loaded."""
    if operation == "insert":
        return {}
    names = columns_of(state.mapper).keys()
    before = stored_before(state, names)
    return before if operation == "delete" else {name: before[name] for name in before if name in state.committed_state}


@event.listens_for(Session, "after_flush")
def _remember(session: Session, flush: UOWTransaction) -> None:
    memory = _memories.setdefault(session, {})
    read = flushes[session].read if session in flushes else {}
    for state, operation in flushed_states(flush):
        flushed = Flushed(operation, before_flush_of(state, operation) | read.get(state, {}))
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
