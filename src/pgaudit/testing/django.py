"""Django's test databases: they have the schema, and an empty trail after each test that commits.

In ``tests/__init__.py``, or in pytest's ``conftest.py``::

    from pgaudit.testing.django import audit_test_databases

    audit_test_databases()
"""

# Django ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from typing import Any, Final

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models.signals import post_migrate
from psycopg.conninfo import make_conninfo

from pgaudit._driver import driver_of
from pgaudit.testing.disposable import empty_trail, prepare_database

_aliases: Final[set[str]] = set()


def audit_test_databases(*aliases: str) -> None:
    """Prepares Django's test databases: each gets the schema, and its trail is emptied whenever Django flushes it.

    Django migrates a test database before it copies it for parallel processes, and flushes it after each
    ``TransactionTestCase``. It does not tell of a flush with ``available_apps`` or ``serialized_rollback``: there, call
    ``empty_trail(connection)`` in ``setUp``.

    >>> audit_test_databases()

    :param aliases: the databases with a trail; ``default`` when left out.
    """
    _aliases.update(aliases or [DEFAULT_DB_ALIAS])
    post_migrate.connect(_prepare_or_empty, dispatch_uid=__name__)


def _prepare_or_empty(sender: Any, using: str, **signal: Any) -> None:
    """Handles the end of ``migrate``, which has a plan, and of ``flush``, which has none."""
    if using not in _aliases or sender is not _last_app():  # it is sent for each application
        return
    conn = connections[using]
    if "plan" in signal:
        info = driver_of(conn).info
        prepare_database(make_conninfo(info.dsn, password=info.password))
    empty_trail(conn)


def _last_app() -> Any:
    """Returns the last application that the signal is sent for: those with models."""
    return [app for app in apps.get_app_configs() if app.models_module is not None][-1]
