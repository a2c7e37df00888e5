"""The connections of the command line: limited in time, with errors that say what to do."""

import os
import shlex
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Final, NoReturn

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgaudit.cli.exit_codes import CannotLook, sentence_of
from pgaudit.settings import Settings

CONNECT_TIMEOUT: Final = 10  # seconds for each address, unless the DSN or PGCONNECT_TIMEOUT has another limit
ANSWER_TIMEOUT: Final = 60.0  # seconds for the answer to one statement, unless --timeout has another limit
CANCEL_TIMEOUT: Final = 2.0
NO_SCHEMA: Final = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
)


class NoAnswer(psycopg.OperationalError):
    """A statement was not answered in time."""


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that waits for ``answer_timeout`` seconds at most, also when the server has stopped answering.

    The limit is the client's: a ``statement_timeout`` needs a server that answers, and a pooler would keep it.
    """

    answer_timeout: ClassVar[float] = ANSWER_TIMEOUT

    def wait(self, *arguments: Any, **options: Any) -> Any:
        previous = signal.signal(signal.SIGALRM, expire)
        signal.setitimer(signal.ITIMER_REAL, self.answer_timeout)
        try:
            return super().wait(*arguments, **options)
        except NoAnswer:
            signal.setitimer(signal.ITIMER_REAL, 0)
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL_TIMEOUT)
            self.close()
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)


def expire(_number: int, _frame: object) -> NoReturn:
    """Ends a wait for the server."""
    raise NoAnswer(f"the database has not answered within {LimitedConnection.answer_timeout:g} s")


@contextmanager
def connect(need: str) -> Generator[psycopg.Connection[Any]]:
    """Yields a connection to the database that the environment names.

    :param need: the kind of role that the command needs: an option of `pgaudit grant`, or "owner".
    :raises CannotLook: there is no connection, no right or no schema; the message says what to do.
    """
    with explained(need) as conninfo, open_connection(conninfo) as conn:
        yield conn


def open_connection(conninfo: str) -> LimitedConnection:
    """Returns a connection in autocommit. Nothing is prepared: behind a pooler, sessions are shared."""
    return LimitedConnection.connect(
        with_time_limit(conninfo),
        autocommit=True,
        prepare_threshold=None,
        application_name="pgaudit",
        client_encoding="utf8",
    )


@contextmanager
def explained(need: str) -> Generator[str]:
    """Yields where to connect. Errors of the database that name no remedy get one.

    :raises CannotLook: there is no connection, no right or no schema; the message says what to do.
    """
    settings = Settings()
    conninfo = with_time_limit(settings.conninfo)
    try:
        yield conninfo
    except psycopg.errors.InsufficientPrivilege as error:
        raise CannotLook(refusal(sentence_of(error), role_of(conninfo), need)) from error
    except NO_SCHEMA as error:
        raise CannotLook(f"{sentence_of(error)}: run `pgaudit migrate` as the owner") from error
    except psycopg.OperationalError as error:
        if error.sqlstate is not None:
            raise
        hint = "" if settings.dsn else "; PGAUDIT_DSN is not set"
        raise CannotLook(sentence_of(error) + hint) from error


def with_time_limit(conninfo: str) -> str:
    """Returns where to connect, with a limit for connecting unless the environment has one."""
    given = "connect_timeout" in conninfo_to_dict(conninfo) or "PGCONNECT_TIMEOUT" in os.environ
    limit = max(2, min(CONNECT_TIMEOUT, round(LimitedConnection.answer_timeout)))  # libpq takes whole seconds, from 2
    return conninfo if given else make_conninfo(conninfo, connect_timeout=limit)


def role_of(conninfo: str) -> str:
    """Returns the role that libpq logs in with."""
    defaults = {option.keyword.decode(): option.val for option in psycopg.pq.Conninfo.get_defaults()}
    return str(conninfo_to_dict(conninfo).get("user") or (defaults["user"] or b"").decode())


def refusal(message: str, role: str, need: str) -> str:
    """Returns what a role was refused, and the one remedy."""
    if not message.startswith("permission denied"):
        return message  # ours say themselves what to do
    if need == "owner":
        return f'{message}: role "{role}" does not own the schema pgaudit; connect as its owner'
    return f'{message}: role "{role}" is no {need}; as the owner, run `pgaudit grant --{need} {shlex.quote(role)}`'
