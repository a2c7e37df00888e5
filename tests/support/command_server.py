"""Runs commands of ``pgaudit`` in forks of itself: a line of input asks for one, a line of output has its exit code.

A fork runs ``pgaudit.__main__.main`` and ends as Python does, so that nothing is different from a new process but the
time for the imports.
"""

import json
import os
import signal
import sys
import time
from typing import Any

from pgaudit.__main__ import main
from pgaudit.cli import app  # noqa: F401 - imported once, here


def serve() -> None:
    """Returns in a fork, for each line; ends at the end of the input."""
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            become(asked)
            return
        signal.signal(signal.SIGALRM, lambda *_, pid=pid: os.kill(pid, signal.SIGKILL))
        signal.alarm(asked["seconds"])
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        signal.alarm(0)
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()
    os._exit(0)


def become(asked: dict[str, Any]) -> None:
    """Gives this process the arguments, environment, directory and streams of a command."""
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    os.chdir(asked["directory"])
    sys.argv = ["pgaudit", *asked["arguments"]]
    streams = ((os.devnull, os.O_RDONLY), (asked["out"], os.O_WRONLY), (asked["err"], os.O_WRONLY))
    for number, (path, flags) in enumerate(streams):
        file = os.open(path, flags | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)


if __name__ == "__main__":
    serve()
    main()
