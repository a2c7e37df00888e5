"""``examples/plain.py``, run as a reader would run it."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "plain.py"


def test_the_program_prints_the_trail_of_its_policy(dsn: str) -> None:
    """Each run records one event for a policy of its own, and ends by itself."""
    assert [run(dsn), run(dsn)] == [
        "policy.issued policy:1 by clerk:42\n",
        "policy.issued policy:2 by clerk:42\n",
    ]


def run(dsn: str) -> str:
    """Returns what the program prints."""
    environment = os.environ | {"PGAUDIT_DSN": dsn}
    result = subprocess.run(
        [sys.executable, EXAMPLE], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return result.stdout
