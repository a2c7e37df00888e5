"""``pgaudit`` in a terminal of a certain width."""

import errno
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios


def in_terminal(dsn: str, columns: int, *arguments: str, **environment: str) -> str:
    """Runs ``pgaudit`` in a terminal; returns what it prints there, both streams together."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "pgaudit", *arguments],
        env=variables | {"PGAUDIT_DSN": dsn, "TERM": "xterm-256color"} | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    with process, os.fdopen(ours, "rb", buffering=0) as terminal:
        return b"".join(iter(lambda: read(terminal.fileno()), b"")).decode().replace("\r\n", "\n")


def read(terminal: int) -> bytes:
    """Returns what has been printed; nothing when the process has ended."""
    try:
        return os.read(terminal, 65_536)
    except OSError as error:
        if error.errno != errno.EIO:  # Linux: nobody has the other end open
            raise
        return b""
