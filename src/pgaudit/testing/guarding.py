"""Fails a test in which rows of a guarded table were changed without an event, and names the statement."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from pgaudit._driver import driver_of
from pgaudit.errors import PgauditError
from pgaudit.testing.statements import Statement, Watched, is_in_transaction, place_of, rows

WARNED: Final = "01PA2"
REFUSED: Final = "PA002"
CHECK: Final = "SET CONSTRAINTS pgaudit.check_guarded_changes IMMEDIATE"
ADD: Final = "SELECT pgaudit.add_guard(%s::regclass, %s, %s, %s, %s)"
ADDED_IN: Final = "SELECT pg_current_xact_id()::text"
REMOVE: Final = "SELECT pgaudit.remove_guard(%s::regclass)"
# The changes that a message of a guard names: "public.claims: claim:7, claim:8 updated without an audit event".
NAMED: Final = """
    SELECT c.number
      FROM pgaudit.guarded_change c JOIN pgaudit.guarded_table g ON g.id = c.guard
      JOIN pg_catalog.pg_class t ON t.oid = g.relation JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
     WHERE c.xid = pg_catalog.pg_current_xact_id_if_assigned()
       AND starts_with(%(message)s, n.nspname || '.' || t.relname || ': ')
       AND strpos(%(message)s, ' ' || rtrim(c.operation, 'e') || 'ed without') > 0
       AND EXISTS (SELECT FROM unnest(c.keys) key
                    WHERE strpos(translate(%(message)s, ',', ' '),
                                 ' ' || translate(g.target_type || ':' || key, ',', ' ') || ' ') > 0)
"""
NO_RIGHT: Final = (
    "audit_guard cannot see what is guarded: GRANT USAGE ON SCHEMA pgaudit TO {role}; "
    "GRANT SELECT ON pgaudit.guarded_change, pgaudit.guarded_table TO {role}, in the test database"
)


class NoConnection(PgauditError):
    """No connection was used in this test yet, so there is none to add a guard through."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A change without an event: what the guard says of it, and the statements that did it."""

    message: str
    statements: tuple[Statement, ...] = ()

    def __str__(self) -> str:
        return "\n  ".join([self.message, *map(str, self.statements)])


@dataclass(frozen=True, slots=True)
class Added:
    """A guard that a test has added, and the transaction that it was added in."""

    conn: psycopg.Connection[Any]
    dsn: str
    table: str
    transaction: str

    @property
    def is_open(self) -> bool:
        """Whether that transaction has not ended: the guard goes when it is rolled back."""
        return is_in_transaction(self.conn) and rows(self.conn, ADDED_IN) == [(self.transaction,)]

    def remove(self) -> None:
        """Removes it. A database that is gone by then, as that of audit_database may be, has taken it along."""
        try:
            other = psycopg.connect(self.dsn, options="-c lock_timeout=10s")
        except psycopg.OperationalError:
            return
        with other:
            if rows(other, "SELECT to_regclass(%s)", [self.table]) != [(None,)]:
                rows(other, REMOVE, [self.table])


class AuditGuard:
    """Watches the synchronous psycopg connections of a test, also those below SQLAlchemy and Django."""

    def __init__(self, test: Path) -> None:
        self.findings: list[Finding] = []
        self._test = test
        self._watched: WeakKeyDictionary[psycopg.Connection[Any], Watched] = WeakKeyDictionary()
        self._latest: psycopg.Connection[Any] | None = None
        self._warnings: list[str] = []
        self._told: set[str] = set()
        self._added: list[Added] = []

    def __call__(
        self,
        table: str,
        *,
        target: str,
        key: str | Sequence[str],
        actions: Mapping[str, str] | None = None,
        conn: object = None,
    ) -> None:
        """Guards a table for this test: ``audit_guard("claims", target="claim", key="id")``.

        It does so in the transaction of the connection.

        :param table: its name, as the connection finds it.
        :param target: type of the targets of its events.
        :param key: column, or columns, of its key.
        :param actions: pattern of the action by operation, such as ``{"delete": "claim.deleted"}``.
        :param conn: a connection of psycopg, SQLAlchemy or Django; the one that the test has used last when left out.
        :raises NoConnection: there is none.
        """
        driver = driver_of(conn) if conn is not None else self._latest
        if driver is None:
            raise NoConnection("name the connection of the test: audit_guard(…, conn=connection)")
        keys = [key] if isinstance(key, str) else list(key)
        rows(driver, ADD, [table, target, keys, "abort", Jsonb(dict(actions or {}))])
        ((transaction,),) = rows(driver, ADDED_IN)
        # Now, because the fixture of the connection may end, and close it, before this one.
        dsn = make_conninfo(driver.info.dsn, password=driver.info.password or None)
        self._added.append(Added(driver, dsn, table, transaction))

    def before(self, conn: psycopg.Connection[Any]) -> None:
        """Gets to know a connection."""
        self._latest = conn
        if conn not in self._watched:
            self._watched[conn] = Watched()
            conn.add_notice_handler(self._on_notice)

    def after(self, conn: psycopg.Connection[Any], text: str) -> None:
        """Looks at what a statement has changed."""
        watched, place = self._watched[conn], place_of(self._test)
        if is_in_transaction(conn):
            watched.note(conn, text, place)
        warnings, self._warnings = self._warnings, []  # of a TRUNCATE, or of a statement that has committed
        self.findings += [Finding(message, (Statement(text, place, 0, 0),)) for message in warnings]

    @contextmanager
    def committing(self, conn: psycopg.Connection[Any]) -> Generator[None]:
        """Examines the transaction that is committed inside. If its guards refuse it, the error names the statement."""
        found = self.examine(conn)
        try:
            yield
        except psycopg.Error as error:
            for finding in found:
                error.add_note(str(finding))
            raise
        self._warnings.clear()
        self.findings += found

    def examine(self, conn: psycopg.Connection[Any]) -> list[Finding]:
        """Returns the changes without an event in the open transaction, as its guards will report them at COMMIT."""
        watched = self._watched.get(conn)
        if watched is None or not watched.is_readable or not is_in_transaction(conn):
            return []
        rows(conn, "SAVEPOINT audit_guard")
        try:
            rows(conn, CHECK)
            messages, self._warnings = self._warnings, []
        except psycopg.Error as error:
            if error.sqlstate != REFUSED:
                raise
            messages, self._warnings = [str(error.diag.message_primary)], []
        finally:
            rows(conn, "ROLLBACK TO SAVEPOINT audit_guard")
            rows(conn, "RELEASE SAVEPOINT audit_guard")
        return [self._finding(conn, watched, message) for message in messages]

    def examine_all(self) -> None:
        """Examines the transactions that are open; what they find stays, however they end."""
        for conn in list(self._watched):
            self.findings += self.examine(conn)

    def verdict(self) -> str | None:
        """Returns what was changed without an event, in sentences; None if there is nothing new."""
        self.examine_all()
        blind = {conn.info.user for conn, watched in self._watched.items() if watched.is_readable is False}
        found = [*dict.fromkeys(map(str, self.findings)), *(NO_RIGHT.format(role=role) for role in sorted(blind))]
        new = [sentence for sentence in found if sentence not in self._told]
        self._told.update(new)
        return "\n".join(new) or None

    def remove_added(self) -> None:
        """Removes the guards of this test that were committed; the others go with their transaction."""
        for added in self._added:
            if not added.is_open:
                added.remove()

    def _on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        """Keeps the warning of a guard."""
        if notice.sqlstate == WARNED:
            self._warnings.append(str(notice.message_primary))

    def _finding(self, conn: psycopg.Connection[Any], watched: Watched, message: str) -> Finding:
        """Returns a message of a guard with the statements that it is about."""
        numbers = {number for (number,) in rows(conn, NAMED, {"message": message})}
        return Finding(message, tuple(watched.having(numbers)))
