"""A worker closes days, and a reader proves and builds again, with the rights of their roles alone."""

import json
import logging
from base64 import b64encode
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import AuditEvent, AuditLog, Settings, grants
from pgaudit.errors import InvalidEvent
from pgaudit.sealing import tree
from pgaudit.sealing.completeness import check, differences, prove, sealed_until
from pgaudit.sealing.completeness.offline import Incomplete, sealed_period
from pgaudit.sealing.stored_tree import tree_of
from pgaudit.worker.sealing import close_once
from tests.sealing.completeness.conftest import MONDAY, Log
from tests.support.jobs import persist_and_commit
from tests.support.roles import temporary_roles


def test_worker_and_reader(log: Log, dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """The worker does so by the clock, and says which day it was; neither writes by hand."""
    caplog.set_level(logging.INFO, "pgaudit.worker")
    today = datetime.now(UTC).date()
    yesterday: date = today - timedelta(days=1)
    log.append("claim:7", ["policy:1", "claim:7"])
    log.seal_on(yesterday)
    log.append("claim:8")
    log.seal_on(today)
    with temporary_roles(dsn, "closing_worker", "proving_reader"):
        grants.grant(log.conn, worker="closing_worker", reader="proving_reader")
        log.conn.commit()
        close_once(Settings(dsn=make_conninfo(dsn, user="closing_worker")))
        assert f"sealed the index of targets of {yesterday}" in caplog.text
        persist_and_commit(log.conn)
        log.seal_on(today)
        with psycopg.connect(make_conninfo(dsn, user="proving_reader"), autocommit=True) as reader:
            found = check(prove(reader, "claim:7"), log.checkpoint).found
            assert found is not None
            assert (found.indexes, found.until, found.sealed_by) == ([0, 1], str(yesterday), ["closing_worker"])
            assert list(differences(reader)) == []
            assert sealed_until(reader, ("claim", "7")) is not None
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("DELETE FROM pgaudit.target_tile")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only the functions of pgaudit can write"):
        log.conn.execute("DELETE FROM pgaudit.target_tile")


def test_no_application_seals_a_day(three_days: Log, dsn: str) -> None:
    """A writer cannot record the event of a worker. One with an actor it can, but that proves nothing."""
    proof = three_days.prove("claim:7")
    data = json.loads(proof.periods[0]["event"])["data"]
    with temporary_roles(dsn, "forging_writer"):
        grants.grant(three_days.conn, writer="forging_writer")
        three_days.conn.commit()
        with psycopg.connect(make_conninfo(dsn, user="forging_writer")) as writer:
            with pytest.raises(InvalidEvent, match=r"audit\.targets_sealed is reserved for workers"):
                AuditLog(Settings()).record(writer, AuditEvent(action="audit.targets_sealed", data=data))
            writer.rollback()
            forged = AuditEvent(action="audit.targets_sealed", actor="user:1", target="claim:7", data=data)
            AuditLog(Settings()).record(writer, forged)
            writer.commit()
        persist_and_commit(three_days.conn)
        three_days.seal_on(MONDAY + timedelta(days=3))
        assert list(differences(three_days.conn)) == []
        index = three_days.checkpoint.size - 1
        ((_, text),) = three_days.texts(index)
        tiled = tree_of(three_days.conn, three_days.checkpoint.size)
        hashes = tree.inclusion_proof(index, tiled.size, tiled.node)
        part = {"event": text, "index": index, "proof": [b64encode(each).decode() for each in hashes]}
        with pytest.raises(Incomplete, match="it has an actor, so that no worker recorded it"):
            sealed_period(part, tiled.size, three_days.checkpoint.root)
