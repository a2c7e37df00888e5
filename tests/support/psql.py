"""psql, as a DBA runs a script with it."""

import subprocess
from collections.abc import Callable

from pgaudit.testing import programs

Psql = Callable[[str, str], subprocess.CompletedProcess[str]]
PROGRAM = str(programs.directory() / "psql")
