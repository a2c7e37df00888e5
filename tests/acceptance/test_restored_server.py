"""A server whose data are replaced by an older copy, while its streams have sent what came after that copy."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pgaudit.testing.server import TemporaryServer
from tests.support.command_line import run_anew
from tests.support.nats import NatsServer, nats_server
from tests.support.processes import kill, start_worker, terminate
from tests.support.processors import Modules
from tests.support.queries import value_in
from tests.support.receivers import serving
from tests.support.servers import back_up, restore
from tests.support.story import Hook, write
from tests.support.streams import lines
from tests.support.waiting import wait_until

OLD, LOST, NEW = 300, 200, 5
SECRET = "whsec_" + "QUJD" * 11
PROCESSOR = """
@pgaudit.processor("mail", on="*", start="beginning")
async def mail(entry):
    note(entry)
"""
IS_DONE = """
    SELECT NOT EXISTS (SELECT FROM pgaudit.audit_jobs) AND NOT EXISTS (SELECT FROM pgaudit.processor_jobs)
       AND (SELECT bool_and(lag_events = 0 OR state = 'paused') FROM pgaudit.stream_stats)
"""
PAUSED = "SELECT count(*) FROM pgaudit.stream WHERE pause_kind = 'refused'"
IDS = "SELECT index, event_id::text FROM pgaudit.audit_log ORDER BY index"


@contextmanager
def working(dsn: str, environment: dict[str, str]) -> Iterator[None]:
    """Runs a worker inside the block."""
    process = start_worker(dsn, "pgaudit", subprocess.DEVNULL, **environment)
    try:
        yield
        assert terminate(process) == 0
    finally:
        kill(process)


def pgaudit(dsn: str, *arguments: str) -> str:
    """Returns what a command says."""
    done = run_anew(*arguments, PGAUDIT_DSN=dsn)
    assert done.returncode == 0, done.stderr
    return done.stdout


def add(dsn: str, name: str, url: str) -> None:
    """Adds a stream from the beginning of the log."""
    pgaudit(dsn, "stream", "add", name, "--to", url, "--from", "beginning", "--allow-private")


def wait_until_sent(dsn: str) -> None:
    """Waits until the log has all events, and all that is not paused has done with them."""
    wait_until("all is sent", lambda: value_in(dsn, IS_DONE))


def ids(dsn: str) -> dict[int, str]:
    """Returns the id of each event of the log."""
    with psycopg.connect(dsn) as conn:
        return dict(conn.execute(IDS).fetchall())


def published(nats: NatsServer, stream: str) -> list[str]:
    """Returns the ids of the events that a stream of JetStream has."""
    return [json.loads(data)["event"]["id"] for _, _, data in nats.messages(stream)]


@pytest.mark.timeout(300)
def test_an_older_copy_of_the_data_is_noticed_and_overwrites_nothing(
    own_server: TemporaryServer, tmp_path: Path
) -> None:
    """Files and JetStream keep what was lost, and pause with the remedy, which works; the others go on."""
    dsn, modules, hook = own_server.conninfo, Modules(tmp_path), Hook()
    environment = {"STREAM_SECRET": SECRET} | modules.write("restored_processors", PROCESSOR)
    with serving(hook.answer) as url, nats_server(tmp_path / "nats") as nats:
        add(dsn, "files", f"file:{tmp_path}/files")
        add(dsn, "bus", f"nats://{nats.place}?stream=AUDIT")
        add(dsn, "hook", f"{url}/?secret=env:STREAM_SECRET")
        with working(dsn, environment):
            write(dsn, OLD)
            wait_until_sent(dsn)
        first = len(ids(dsn))
        copy = back_up(own_server)
        with working(dsn, environment):
            write(dsn, LOST)
            wait_until_sent(dsn)
        lost = ids(dsn)
        files = {path.name: path.read_bytes() for path in (tmp_path / "files").glob("*.ndjson")}
        restore(own_server, copy)
        with working(dsn, environment):
            write(dsn, NEW)
            wait_until("two have noticed it", lambda: value_in(dsn, PAUSED) == 2)
            wait_until_sent(dsn)
            check_others(dsn, first, lost, hook, modules)
            assert {path.name: path.read_bytes() for path in (tmp_path / "files").glob("*.ndjson")} == files
            assert published(nats, "AUDIT") == list(lost.values())
            assert "older backup" in pgaudit(dsn, "stream", "list")
            follow(dsn, pgaudit(dsn, "stream", "show", "files"))
            assert "Send the log to a new stream of JetStream" in flat(pgaudit(dsn, "stream", "show", "bus"))
            pgaudit(dsn, "stream", "remove", "bus")
            add(dsn, "bus", f"nats://{nats.place}?stream=AUDIT_2&prefix=audit2")
            wait_until_sent(dsn)
        now = ids(dsn)
        assert published(nats, "AUDIT_2") == list(now.values())
        assert published(nats, "AUDIT") == list(lost.values())
    written = [line["event"]["id"] for line in lines(tmp_path / "files")]
    assert sorted(written) == sorted([*lost.values(), *list(now.values())[first:]])


def check_others(dsn: str, first: int, lost: dict[int, str], hook: Hook, modules: Modules) -> None:
    """A webhook and a processor have no position of their own: they have got what was lost, and what is new."""
    known = set(lost.items()) | set(ids(dsn).items())
    wait_until("the hook has all", lambda: set(hook.taken) == known)
    assert {(note.index, note.key.removeprefix("mail:")) for note in modules.notes} == known
    assert sum(index == first for index, _ in hook.taken) == 2
    assert len(hook.taken) == len(known)


def follow(dsn: str, shown: str) -> None:
    """Runs the commands that the problem of a stream names."""
    commands = re.findall(r"pgaudit (stream (?:rewind \S+ \d+|resume \S+?))(?:,|\s|$)", flat(shown))
    assert len(commands) == 2
    for command in commands:
        pgaudit(dsn, *command.split())


def flat(shown: str) -> str:
    """Returns what a command has said without its line breaks."""
    return " ".join(shown.split())
