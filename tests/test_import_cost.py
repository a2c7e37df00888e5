"""What ``import pgaudit`` costs an application that has psycopg, procrastinate and pydantic.

Measured: 66 ms, of which 34 are pydantic's, which it loads when the first model is made. That is the least of 15 runs
of ``python -c "import psycopg, psycopg_pool, procrastinate, pydantic; import pgaudit"``, 292 ms, less the least of 15
without pgaudit, 226 ms, in turn with the others, on two cores with Python 3.11. Reading the environment with
pydantic-settings took 28 ms more. The parts of the settings, which have a module each, take 2 ms of processor time.

A clock would make these tests fail on a busy machine: they count modules.
"""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from tests.support.libpq import WITHOUT_LIBPQ

BEFORE = "import psycopg, psycopg_pool, procrastinate, pydantic"
AFTER = f"{BEFORE}, pgaudit"

# Packages of workers, migrations, extras and other drivers.
UNWANTED = {
    "alembic",
    "asyncpg",
    "blinker",
    "django",
    "dotenv",
    "opentelemetry",
    "procrastinate",
    "prometheus_client",
    "psycopg_pool",
    "pydantic_settings",
    "rich",
    "sqlalchemy",
    "starlette",
    "typer",
    "uvicorn",
}


def loaded(code: str) -> set[str]:
    """Returns the modules that a fresh interpreter has loaded after running the code."""
    command = [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps(list(sys.modules)))"]
    return set(json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout))


def packages(modules: set[str]) -> set[str]:
    """Returns the top-level packages of the modules."""
    return {name.partition(".")[0] for name in modules}


@pytest.fixture(scope="module")
def added() -> set[str]:
    """Returns the modules that the import adds to an application with psycopg, procrastinate and pydantic."""
    return loaded(AFTER) - loaded(BEFORE)


def test_an_import_loads_nothing_that_recording_does_not_need() -> None:
    """import pgaudit loads no package of workers, migrations, extras or other drivers."""
    assert packages(loaded("import pgaudit")) & UNWANTED == set()


def test_an_import_adds_nothing_but_pgaudit_pydantic_and_the_standard_library(added: set[str]) -> None:
    """The import adds only pgaudit, pydantic with its requirements, and modules of the standard library."""
    required = {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in requires("pydantic") or []}
    assert packages(added) - {"pgaudit", "pydantic"} - required <= sys.stdlib_module_names


def test_an_import_adds_few_modules(added: set[str]) -> None:
    """There are 40 modules of pgaudit; each takes about half a millisecond."""
    assert len({name for name in added if name.startswith("pgaudit")}) <= 40
    assert len(packages(added) & sys.stdlib_module_names) <= 16


def test_an_import_without_libpq_ends_in_one_sentence(tmp_path: Path) -> None:
    """Where psycopg finds neither its own binary nor the system's libpq, the error says what to install."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_LIBPQ)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    for command in (["-c", "import pgaudit"], ["-m", "pgaudit", "--version"]):
        result = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1] == (
            "pgaudit.errors.MissingExtra: pgaudit needs libpq, and psycopg does not find it: "
            'pip install "psycopg[binary]", or install libpq'
        )
        assert result.stderr.count("Traceback") == 1
        assert "psycopg/pq" not in result.stderr
