"""A Django project in processes of its own: each has a database, which has no schema yet."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = "tests.django.project"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(empty_dsn: str) -> Run:
    """Runs a Python module in the project, and fails unless it exits with ``code``. The database has no schema yet."""

    def run(*arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        given = {"PROJECT_DSN": empty_dsn, "DJANGO_SETTINGS_MODULE": f"{PROJECT}.settings", "PYTHONPATH": path}
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(
            command,
            env=os.environ | given | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run
