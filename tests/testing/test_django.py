"""The test suite of a Django project, run by Django's runner and by pytest-django."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pgaudit.testing.server import Server

ROOT = Path(__file__).parents[2]
SETTINGS = """
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "{name}", "USER": "postgres",
                           "HOST": "{host}", "PORT": "{port}", "TEST": {{"NAME": "{name}"}}}}}}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "claims"]
USE_TZ = True
"""
MODELS = """
from django.db import models


class Claim(models.Model):
    status = models.TextField()
"""
HOOK = (ROOT / "docs/code/django_tests.py").read_text()
TESTS = """
from claims.models import Claim
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from pgaudit import AuditEvent, AuditLog
from pgaudit.testing import assert_nothing_recorded, assert_recorded, empty_trail, run_worker_once


def approve():
    with transaction.atomic():
        Claim.objects.create(status="approved")
        AuditLog().record(connection, AuditEvent(action="claim.approved"))


class Wrapped(TestCase):
    def test_one(self):
        approve()
        assert_recorded(connection, action="claim.approved")

    test_two = test_one


class Committing(TransactionTestCase):
    def test_one(self):
        approve()
        assert_recorded(connection, action="claim.approved")
        assert run_worker_once(connection) == 1
        approve()

    test_two = test_three = test_one


class Another(Committing):
    pass


class Restricted(TransactionTestCase):
    available_apps = ["claims"]

    def setUp(self):
        empty_trail(connection)

    def test_one(self):
        approve()
        assert_recorded(connection, action="claim.approved")

    test_two = test_one
"""
COUNT = 2 + 3 + 3 + 2
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, server: Server) -> Iterator[Run]:
    """Runs a command in a Django project; the test fails if the command does. Returns what it printed."""
    given = conninfo_to_dict(server.conninfo)
    name = f"test_{tmp_path.name[-20:]}_{os.getpid()}"
    for path, text in {
        "settings.py": SETTINGS.format(name=name, host=given["host"], port=given["port"]),
        "claims/__init__.py": "",
        "claims/models.py": MODELS,
        "tests/test_claims.py": TESTS,
        "tests/__init__.py": HOOK,
        "pytest.ini": "[pytest]\npythonpath = .\nfilterwarnings = error\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)

    def run(*command: str) -> str:
        path = [str(ROOT / "src"), str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "DJANGO_SETTINGS_MODULE": "settings"}
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    yield run
    with psycopg.connect(server.conninfo, autocommit=True) as conn:  # --keepdb keeps it
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def test_under_the_runner_of_django_each_test_has_its_own_events(run: Run) -> None:
    """The schema is in the test database, and a test that commits leaves nothing to the next one."""
    assert f"Ran {COUNT} tests" in run("django", "test", "tests")


def test_in_parallel_each_copy_has_the_schema(run: Run) -> None:
    """Django copies the test database for each process after it was migrated."""
    assert "Found 10 test(s)" in run("django", "test", "tests", "--parallel", "2")


def test_a_database_that_is_kept_starts_without_events(run: Run) -> None:
    """With --keepdb a test run starts with an empty trail, although the run before has left events."""
    for _ in range(2):
        assert f"Ran {COUNT} tests" in run("django", "test", "tests", "--keepdb")


def test_under_pytest_django_each_test_has_its_own_events(run: Run) -> None:
    """Tests under pytest-django pass in two processes of pytest-xdist, each with its own database."""
    assert f"{COUNT} passed" in run("pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--create-db")
