"""psql, as a DBA runs a script with it."""

import subprocess
from collections.abc import Callable

from pgaudit.testing.server import BINARIES, VERSION

Psql = Callable[[str, str], subprocess.CompletedProcess[str]]
PROGRAM = str(BINARIES[VERSION] / "psql")
