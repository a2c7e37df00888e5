"""Connections of the worker's threads, beside the pool of its jobs."""

from typing import Any

import psycopg

from pgaudit.settings import Settings
from pgaudit.worker.connector import CONNECTION, with_defaults


def connect(settings: Settings, name: str) -> psycopg.Connection[Any]:
    """Returns a connection in autocommit mode for one thread: it waits for no job, and no job for it.

    :param name: what Postgres shows as its ``application_name``.
    """
    options: dict[str, Any] = CONNECTION | {"application_name": name}
    return psycopg.connect(with_defaults(settings.conninfo), **options)
