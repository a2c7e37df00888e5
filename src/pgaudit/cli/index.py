"""``pgaudit index``: indexes of the log for searches that it has none for."""

from dataclasses import asdict
from typing import Annotated

import psycopg
import typer

from pgaudit import indexes
from pgaudit.cli.database import connect, explained
from pgaudit.cli.output import AsJson, print_json, print_rows
from pgaudit.cli.terminal import say

app = typer.Typer(help="Choose indexes of the log, for searches that it has none for.", no_args_is_help=True)
Name = Annotated[
    str,
    typer.Argument(
        help="request, correlation, trace, session or ip; a value in data by its keys, such as data.claim_number; "
        "data or changes for any JSON in them."
    ),
]


@app.command()
def add(name: Name, *, json: AsJson = False) -> None:
    """Add an index while the log is in use. Run it again after an interruption. Needs a direct connection."""
    with explained("owner") as conninfo, psycopg.connect(conninfo, autocommit=True, client_encoding="utf8") as conn:
        index = indexes.add(conn, name, tell)
    if json:
        print_json(asdict(index))
    else:
        say(f"The index {index.name} is complete, with {index.bytes:,} bytes.")


def tell(step: indexes.Step) -> None:
    """Prints which partition is indexed now."""
    say(f"Indexing {step.partition} ({step.number} of {step.count})", error=True)


@app.command("list")
def list_(*, json: AsJson = False) -> None:
    """List the chosen indexes with their size. One that is not complete serves no search: add it again."""
    with connect("reader") as conn:
        print_rows(indexes.ChosenIndex, indexes.list_indexes(conn), as_json=json)


@app.command()
def remove(name: Name, *, json: AsJson = False) -> None:
    """Remove an index. Searches that it served look through a bounded number of events again."""
    with explained("owner") as conninfo, psycopg.connect(conninfo, autocommit=True, client_encoding="utf8") as conn:
        indexes.remove(conn, name)
    if json:
        print_json({"removed": name})
    else:
        say(f"The index {name} is removed.")
