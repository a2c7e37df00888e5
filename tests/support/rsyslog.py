"""A real rsyslogd, which writes what it has understood of each message into a file. Get it: apt-get install rsyslog."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

from tests.support.pgbouncer import free_port
from tests.support.waiting import wait_until

PROGRAM = which("rsyslogd") or "/usr/sbin/rsyslogd"
CONFIGURATION = """
global(workDirectory="{directory}")
module(load="imudp")
module(load="imtcp")
input(type="imudp" address="127.0.0.1" port="{port}")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="understood" type="list" option.jsonf="on") {{
    property(outname="severity" name="syslogseverity" format="jsonf")
    property(outname="facility" name="syslogfacility" format="jsonf")
    property(outname="moment" name="timereported" dateformat="rfc3339" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="app" name="app-name" format="jsonf")
    property(outname="msgid" name="msgid" format="jsonf")
    property(outname="data" name="structured-data" format="jsonf")
    property(outname="text" name="msg" format="jsonf")
}}
action(type="omfile" file="{directory}/messages" template="understood")
"""


@dataclass
class Rsyslog:
    """A server on a port of its own, over UDP and TCP."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        configuration = self.directory / "rsyslog.conf"
        configuration.write_text(CONFIGURATION.format(directory=self.directory, port=self.port))
        files = ["-f", str(configuration), "-i", str(self.directory / "pid")]
        self.process = subprocess.Popen([PROGRAM, "-n", *files], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("rsyslogd listens", lambda: all(map(self.listens, ("tcp", "udp"))))

    def listens(self, protocol: str) -> bool:
        """Returns whether its port is open."""
        return f"0100007F:{self.port:04X} 00000000:0000" in Path(f"/proc/net/{protocol}").read_text()

    def stop(self, *, kill: bool = False) -> None:
        """Ends it; it writes what it has got, or is killed."""
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(20)
            self.process = None

    def messages(self) -> list[dict[str, Any]]:
        """Returns what it has understood of the messages so far."""
        file = self.directory / "messages"
        written = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in written.split("\n")[:-1]]  # the last line may not be complete

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Returns the messages when there are so many."""
        wait_until(f"{count} messages are there", lambda: len(self.messages()) >= count)
        return self.messages()


@contextmanager
def rsyslog(directory: Path) -> Iterator[Rsyslog]:
    """Runs rsyslogd inside the block."""
    assert os.access(PROGRAM, os.X_OK), "rsyslogd is not installed: apt-get install rsyslog"
    directory.mkdir(exist_ok=True)
    server = Rsyslog(free_port(), directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
