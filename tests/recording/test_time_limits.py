"""Recording in a connection of its own does not wait for ever."""

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgaudit import AuditEvent, AuditLog, Settings, spool
from pgaudit.recording import autonomous

DENIED = AuditEvent(action="login.failed", outcome="denied")


@pytest.fixture
def silent() -> Iterator[str]:
    """The DSN of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"host=127.0.0.1 port={server.getsockname()[1]} user=x dbname=x"


def test_a_server_that_never_answers_is_given_up(silent: str, tmp_path: Path) -> None:
    """The event is in the spool after the seconds that connecting may take, and not after minutes."""
    audit = AuditLog(Settings(dsn=silent, on_failure="spool", spool_dir=tmp_path))
    start = time.monotonic()
    audit.record_autonomous(DENIED)
    asyncio.run(audit.record_autonomous_async(DENIED))
    assert time.monotonic() - start < 4 * autonomous.CONNECT_SECONDS
    assert spool.count(tmp_path) == 2
