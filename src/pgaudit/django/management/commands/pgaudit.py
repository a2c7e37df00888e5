"""``python manage.py pgaudit ...``: the command line with the database and settings of the project."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from pgaudit.__main__ import main
from pgaudit.django.database import dsn_of
from pgaudit.django.options import options
from pgaudit.settings import Settings


class Command(BaseCommand):  # type: ignore[misc]  # Django ships no types
    """Passes all arguments after ``pgaudit`` to the command line; ``--help`` lists its commands."""

    help = "Runs a command of pgaudit on the database that PGAUDIT['ALIAS'] names."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's name

    def run_from_argv(self, argv: list[str]) -> None:
        own = ArgumentParser(add_help=False, allow_abbrev=False)  # options that manage.py has read already
        own.add_argument("--settings")
        own.add_argument("--pythonpath")
        run(own.parse_known_args(argv[2:])[1])

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("arguments", nargs="*")

    def handle(self, *_: Any, arguments: list[str], **_options: Any) -> None:
        run(arguments)


def run(arguments: list[str]) -> None:
    """Runs the command line with the settings of the project, and exits with its exit code."""
    given: dict[str, Any] = getattr(settings, "PGAUDIT", {})
    for name in given.keys() & {field.upper() for field in Settings.model_fields}:
        value = given[name]
        os.environ[f"PGAUDIT_{name}"] = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    os.environ["PGAUDIT_DSN"] = dsn_of(options().alias)
    sys.argv = ["pgaudit", *arguments]
    main()
