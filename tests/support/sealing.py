"""Logs that are signed, for tests of what is told of them."""

from pathlib import Path

import psycopg

from pgaudit import Settings
from pgaudit.sealing.keys import create, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.worker.verification import verify_once

NAME = "audit.example.com/claims"


def signing(settings: Settings, directory: Path) -> Settings:
    """Returns the settings of a worker with a new key in that directory, who verifies each time that it is asked to."""
    path = directory / "claims.key"
    create(path, new_keys(NAME))
    return Settings(dsn=settings.dsn, signing_key=str(path), verify_interval=1e-6)


def seal_and_verify(conn: psycopg.Connection, settings: Settings) -> None:
    """Signs what is in the log, and verifies it."""
    conn.commit()
    conn.autocommit = True
    assert seal(conn, Signer.of(settings)) is not None
    verify_once(settings)
    conn.autocommit = False
