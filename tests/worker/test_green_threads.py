"""A worker under gevent."""

import os
import subprocess
import sys

PROGRAM = """
from gevent import monkey
monkey.patch_all()
from pgaudit import worker
from pgaudit.errors import WorkerRefused
try:
    worker.start_in_thread()
except WorkerRefused as error:
    print(error)
"""


def test_a_thread_of_gevent_is_refused(dsn: str) -> None:
    """The worker's event loop would block the application; the sentence says what to run instead."""
    environment = os.environ | {"PGAUDIT_DSN": dsn}
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "run `pgaudit worker`" in result.stdout
