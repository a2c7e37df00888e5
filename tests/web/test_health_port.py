"""The health port of a worker: its routes, and what clients cannot do to it."""

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import psycopg
import pytest

from pgaudit import Settings, worker
from pgaudit.web import connection_limits, probing
from pgaudit.web.server import LoopErrors
from tests.support.jobs import insert_poison
from tests.support.pgbouncer import free_port
from tests.support.waiting import wait_until

QUEUES = "/api/v1/health/queues"
READY = "/api/v1/health/ready"
LIVE = "/api/v1/health/live"
HALF = f"GET {LIVE} HTTP/1.1\r\nHost: x\r\n".encode()


@contextmanager
def port_of(settings: Settings) -> Iterator[httpx.Client]:
    """A client of a health port in this process, without a worker."""
    port = free_port()
    with (
        probing(settings, port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client,
    ):
        yield client


def is_ready(client: httpx.Client) -> bool:
    """Whether the worker is ready."""
    return client.get(READY).status_code == 200


def test_a_worker_is_ready_while_it_is_registered(settings: Settings) -> None:
    """Before, and after it has stopped, the answer is 503 and says where to look; live is 200 throughout."""
    unregistered = {
        "status": "unhealthy",
        "reason": "The worker of this process is not registered: see its log.",
        "checks": [{"name": "worker", "status": "unhealthy"}],
    }
    with port_of(settings) as client:
        answer = client.get(READY)
        assert (answer.status_code, answer.json()) == (503, unregistered)
        with worker.start_in_thread(settings):
            wait_until("the worker is ready", lambda: is_ready(client))
            assert client.get(READY).json()["checks"] == [{"name": "worker", "status": "healthy"}]
        wait_until("the worker is not ready", lambda: not is_ready(client))
        assert client.get(LIVE).json() == {"status": "healthy", "reason": None, "checks": []}


def test_a_worker_is_ready_during_a_backlog(settings: Settings, conn: psycopg.Connection) -> None:
    """A rollout goes on although the trail is unhealthy."""
    insert_poison(conn, '{"recorded_at": "2026-01-01T00:00:00Z"}')
    conn.commit()
    late = settings.model_copy(update={"job_backoff_delay": 60_000})
    with port_of(late) as client, worker.start_in_thread(late):
        wait_until("the worker is ready", lambda: is_ready(client))
        assert client.get(QUEUES).status_code == 503


def test_a_worker_that_registers_again_is_ready_again(settings: Settings, conn: psycopg.Connection) -> None:
    """A worker that was removed as stalled gets a new id; the port asks for that one."""
    quick = settings.model_copy(update={"stalled_after": 2.0})
    with port_of(quick) as client, worker.start_in_thread(quick):
        wait_until("the worker is ready", lambda: is_ready(client))
        (old,) = conn.execute("DELETE FROM pgaudit.procrastinate_workers RETURNING id").fetchone() or (None,)
        conn.commit()
        wait_until("the worker registers again", lambda: ids_of_workers(conn) not in ([], [old]))
        wait_until("the worker is ready", lambda: is_ready(client))


def ids_of_workers(conn: psycopg.Connection) -> list[int]:
    """The workers that are registered."""
    ids = [worker_id for (worker_id,) in conn.execute("SELECT worker_id FROM pgaudit.worker_stats")]
    conn.rollback()
    return ids


def test_a_database_that_is_away_makes_a_worker_unready_not_dead(settings: Settings) -> None:
    """No outage of the database lets an orchestrator restart the workers."""
    with port_of(settings.model_copy(update={"dsn": "host=127.0.0.1 port=1"})) as client:
        assert client.get(READY).status_code == 503
        assert client.get(LIVE).status_code == 200


def test_half_sent_requests_do_not_keep_a_probe_out(settings: Settings) -> None:
    """At most 32 connections stay open: the oldest ones that have sent no request are closed."""
    with port_of(settings) as client, ExitStack() as sockets:
        address = ("127.0.0.1", client.base_url.port)
        slow = [sockets.enter_context(socket.create_connection(address, timeout=30)) for _ in range(200)]
        for one in slow:
            send_half(one)
        assert client.get(LIVE).status_code == 200
        for one in slow[:168]:
            assert is_closed(one)


def send_half(connection: socket.socket) -> None:
    """Sends the beginning of a request, unless the server has closed the connection already."""
    try:
        connection.sendall(HALF)
    except ConnectionError:
        assert is_closed(connection)


def is_closed(connection: socket.socket) -> bool:
    """Whether the server closes the connection, within the time limit of the socket."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_a_request_that_is_sent_too_slowly_is_ended(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection has a time limit, however often something arrives."""
    monkeypatch.setattr(connection_limits, "CONNECTION_SECONDS", 0.3)
    with port_of(settings) as client, socket.create_connection(("127.0.0.1", client.base_url.port)) as slow:
        slow.settimeout(30)
        slow.sendall(HALF)
        assert is_closed(slow)


def test_a_connection_serves_one_request(settings: Settings) -> None:
    """An idle client keeps no connection open."""
    with port_of(settings) as client:
        assert client.get(LIVE).headers["Connection"] == "close"


def test_invalid_requests_are_not_logged(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A port scan leaves no line for each of its requests."""
    with port_of(settings) as client:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=30) as scanner:
                scanner.sendall(b"\x16\x03\x01\r\n\r\n")
                assert scanner.recv(12) == b"HTTP/1.1 400"
    assert caplog.records == []


@pytest.mark.anyio
async def test_errors_of_the_event_loop_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A process that is out of files cannot accept thousands of connections; it says so once."""
    loop = asyncio.get_running_loop()
    handler = LoopErrors()
    for _ in range(1_000):
        handler(loop, {"message": "socket.accept() out of system resource", "exception": OSError(24, "too many")})
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("pgaudit.web", logging.ERROR)
    assert record.getMessage().startswith("socket.accept() out of system resource")


def test_the_port_listens_on_the_host_that_is_set(settings: Settings) -> None:
    """On 127.0.0.1 if none is set: other addresses of the machine refuse the connection."""
    for host, other in (("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")):
        port = free_port()
        with probing(settings.model_copy(update={"health_host": host}), port):
            socket.create_connection((host, port)).close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((other, port))
    assert settings.health_host == "127.0.0.1"


def test_the_health_port_loads_no_fastapi() -> None:
    """A worker does not pay for what it does not serve."""
    code = "import sys; from pgaudit.web import probing; print('fastapi' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "False"
