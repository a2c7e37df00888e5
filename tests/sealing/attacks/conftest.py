"""A sealed log of 1,100 events that belongs to a plain role, copied for each attack."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copy

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import migrate
from pgaudit.sealing.keys import HighWaterMark, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.sealing.attacks.sealed import OWNER, SUPERUSER, Sealed
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.roles import temporary_roles

BATCHES = (300, 300, 500)  # with a checkpoint after each


@pytest.fixture(scope="module")
def original(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Signer]]:
    """The name of a database with a sealed log, and its signer."""
    signer = Signer(new_keys("audit.example.com/claims"), HighWaterMark(tmp_path_factory.mktemp("signer") / "mark"))
    with fresh_database(server, template="template1") as database, temporary_roles(server.conninfo, OWNER):
        with psycopg.connect(database.dsn, autocommit=True) as conn:
            name = conn.info.dbname
            conn.execute(f"GRANT CREATE ON DATABASE {name} TO {OWNER}")
        migrate.upgrade(make_conninfo(database.dsn, user=OWNER))
        with psycopg.connect(database.dsn, user=OWNER, autocommit=True) as conn:
            make_small_partitions_and_commit(conn)
            for count in BATCHES:
                record_persist_and_commit(conn, *events(count))
                seal(conn, signer)
        yield name, signer
        with psycopg.connect(database.dsn, autocommit=True) as conn:
            conn.execute(f"DROP OWNED BY {OWNER} CASCADE")


@pytest.fixture(params=[OWNER, SUPERUSER])
def log(
    request: pytest.FixtureRequest, server: Server, original: tuple[str, Signer], tmp_path: Path
) -> Iterator[Sealed]:
    """A copy of the sealed log, and a session of its owner or of a superuser."""
    name, signer = original
    copy(signer.mark.path, tmp_path / "mark")
    with (
        fresh_database(server, template=name) as database,
        psycopg.connect(database.dsn, user=request.param, autocommit=True) as conn,
    ):
        yield Sealed(conn, Signer(signer.keys, HighWaterMark(tmp_path / "mark")))
