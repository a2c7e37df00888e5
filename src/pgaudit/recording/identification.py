"""Who acts in a transaction, for the events that triggers capture in it: what its setting ``audit.context`` says.

The server takes actor, tenant and context from it, and notes that the application has named them.
"""

from contextvars import ContextVar
from typing import Final

from pgaudit import _tracing
from pgaudit._log import warn_once
from pgaudit.events import Actor, AuditEvent
from pgaudit.recording.connections import async_transaction_of, refuse_outside_transaction, transaction_of
from pgaudit.recording.context import checked, fields_of, identify_request, with_awaited_actor, with_bound_context
from pgaudit.recording.setting import setting_of

OF_REQUEST: Final = object()
NOTHING: Final = checked()
CANNOT_FIND: Final = "the actor of a change is recorded as unknown, because looking it up has raised {}"

_finding: ContextVar[bool] = ContextVar("pgaudit.finding", default=False)


def identify(
    conn: object = OF_REQUEST,
    /,
    *,
    actor: Actor | str | None = None,
    tenant: str | None = None,
    **context: str | None,
) -> None:
    """Names the actor, tenant or context of the current request, or, with a connection, of its transaction.

    All events that the request records from now on have them. Call it where the application learns who is asking: a
    token, an API key, a dependency, the login itself. It works in every thread and task of a request that one of the
    middlewares serves. A ``bind`` inside of the request wins.

    >>> def authenticate(key):
    ...     identify(actor=f"key:{key}")

    With a connection, it names what is bound to the triggers that capture changes in the rest of its transaction, and
    what is given, which wins, and stays also where transactions are identified automatically.

    >>> with psycopg.connect(dsn) as conn, bind(actor="user:42"):
    ...     identify(conn)
    ...     conn.execute("UPDATE claims SET status = 'approved' WHERE id = 7")

    :param conn: a connection in a transaction, or a cursor of one; the request when left out.
    :param actor: for a request, what no event could hold is shortened or marked, and logged once: the request goes on.
    :raises InvalidEvent: the tenant or the context cannot be recorded, or there is no such field.
    :raises NotInRequest: no middleware of pgaudit serves this request.
    :raises NotInTransaction: the connection is outside a transaction.
    :raises UnknownConnection: ``conn`` is not a connection that pgaudit knows.
    """
    if conn is OF_REQUEST:
        identify_request(actor=actor, tenant=tenant, **context)
        return
    given = checked(actor, tenant, **context)
    refuse_outside_transaction(conn)
    found = with_bound_context(given, _tracing.current_ids())
    transaction_of(conn).identify(setting_of(found, explicit=is_given(given)))


async def identify_async(
    conn: object, /, *, actor: Actor | str | None = None, tenant: str | None = None, **context: str | None
) -> None:
    """``identify`` for the transaction of an asynchronous connection."""
    given = checked(actor, tenant, **context)
    (event,) = await with_awaited_actor([given])
    found = with_bound_context(event, _tracing.current_ids(), look_up=False)
    await (await async_transaction_of(conn)).identify(setting_of(found, explicit=is_given(given)))


def is_given(event: AuditEvent) -> bool:
    """Returns whether an event names an actor, a tenant or a context."""
    return bool(event.actor or event.tenant or fields_of(event.context))


def bound() -> AuditEvent | None:
    """Returns an event with what is bound; None while the actor is looked up, whose own statements are not identified.

    No statement of the application fails because of it: without an actor, if looking it up has raised an error.
    """
    if _finding.get():
        return None
    token = _finding.set(True)
    try:
        return with_bound_context(NOTHING, _tracing.current_ids())
    except Exception as error:  # noqa: BLE001 - whatever the application's function raises
        return _without_lookup(error)
    finally:
        _finding.reset(token)


async def bound_async() -> AuditEvent | None:
    """``bound`` where the actor may have to be awaited."""
    if _finding.get():
        return None
    token = _finding.set(True)
    try:
        (event,) = await with_awaited_actor([NOTHING])
        return with_bound_context(event, _tracing.current_ids(), look_up=False)
    except Exception as error:  # noqa: BLE001 - likewise
        return _without_lookup(error)
    finally:
        _finding.reset(token)


def _without_lookup(error: Exception) -> AuditEvent:
    """Returns an event with what is bound, as far as nothing has to be looked up."""
    warn_once(CANNOT_FIND.format(type(error).__name__))
    return with_bound_context(NOTHING, _tracing.current_ids(), look_up=False)
