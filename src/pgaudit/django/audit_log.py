"""``audit``: the AuditLog of the project's database."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error, connections, transaction

from pgaudit.django.database import dsn_of
from pgaudit.django.options import options
from pgaudit.errors import NotInTransaction
from pgaudit.events import AuditEvent
from pgaudit.middleware.django import settings_of_django
from pgaudit.recording.audit_log import AuditLog
from pgaudit.recording.connections import refuse_outside_transaction, transaction_of
from pgaudit.settings import Settings


class DjangoAuditLog(AuditLog):
    """Records in the database that ``PGAUDIT["ALIAS"]`` names, autonomous events included.

    ``record_autonomous`` uses Django's connection if it is outside a transaction, and otherwise opens another one. In a
    ``TestCase`` it records in the transaction of the test, which sees the event and rolls it back. Use a
    ``TransactionTestCase`` to test that an event outlives a rollback.
    """

    def record_now(self, *events: AuditEvent) -> None:
        """Records in Django's current transaction, or in a new one if there is none.

        For events that change no row, such as a login or an export.

        :raises InvalidEvent: the database refuses an event.
        """
        conn = connections[options().alias]
        try:
            refuse_outside_transaction(conn)
        except NotInTransaction:
            self.record_autonomous(*events)
        else:
            self.record(conn, *events)

    @property
    def _conninfo(self) -> str:
        return dsn_of(options().alias)

    def _record_apart(self, documents: Sequence[str]) -> None:
        conn = connections[options().alias]
        if not commits_each_statement(conn) and not is_in_testcase(conn):
            super()._record_apart(documents)
            return
        try:
            with transaction.atomic(using=conn.alias):  # pyright: ignore[reportGeneralTypeIssues]
                for document in documents:
                    transaction_of(conn).record(document, inline=self._inline, receipts=self.settings.wal_receipts)
        except Error as error:
            raise (error.__cause__ or error) from None  # psycopg's error, as the other branch raises it

    async def _record_apart_async(self, documents: Sequence[str]) -> None:
        await sync_to_async(self._record_apart)(documents)


def commits_each_statement(conn: Any) -> bool:
    """Returns whether the connection is in autocommit mode and outside ``transaction.atomic()``."""
    return not conn.in_atomic_block and bool(conn.get_autocommit())


def is_in_testcase(conn: Any) -> bool:
    """Returns whether the connection is in the transaction of a ``TestCase``, which will be rolled back."""
    return any(block._from_testcase for block in conn.atomic_blocks)  # noqa: SLF001 - as `durable` does


def project_settings() -> Settings:
    """Returns pgaudit's settings for the project.

    :raises ImproperlyConfigured: ``PGAUDIT`` has an unknown key, or a DSN, which ``DATABASES`` has already.
    """
    options()  # checks the keys
    return settings_of_django()


audit = DjangoAuditLog(project_settings())
