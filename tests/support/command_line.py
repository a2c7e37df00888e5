"""``pgaudit`` as a person or a script runs it."""

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]
