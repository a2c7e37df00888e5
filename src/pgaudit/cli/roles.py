"""``pgaudit grant``, ``revoke`` and ``roles``."""

from typing import Annotated, Final

import typer

from pgaudit import grants, roles
from pgaudit.cli.database import connect
from pgaudit.cli.output import AsJson, print_json, print_rows
from pgaudit.cli.terminal import say

NAMES: Final = {
    "writer": "a writer",
    "inline": "an inline writer",
    "worker": "a worker",
    "operator": "an operator",
    "reader": "a reader",
}
ByKind = dict[str, list[str]]
Writers = Annotated[list[str] | None, typer.Option(help="Role of the application: may record, nothing else.")]
InlineWriters = Annotated[list[str] | None, typer.Option(help="Role that may record in inline mode.")]
Workers = Annotated[list[str] | None, typer.Option(help="Role of the workers.")]
Operators = Annotated[list[str] | None, typer.Option(help="Role that retries and acknowledges failed jobs.")]
Readers = Annotated[list[str] | None, typer.Option(help="Role that reads the log and the views.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (grant, revoke, roles_):
        app.command(command.__name__.rstrip("_"))(command)


def grant(  # noqa: PLR0913 - one for each kind of role
    *,
    writer: Writers = None,
    inline: InlineWriters = None,
    worker: Workers = None,
    operator: Operators = None,
    reader: Readers = None,
    json: AsJson = False,
) -> None:
    """Give existing roles the least that they need. Repeat an option to name several roles."""
    given = named(writer=writer, inline=inline, worker=worker, operator=operator, reader=reader)
    with connect("owner") as conn, conn.transaction():
        grants.grant(conn, **given)
    if json:
        print_json(given)
        return
    for kind, names in given.items():
        for role in names:
            say(f"{role} is {NAMES[kind]}.")


def revoke(  # noqa: PLR0913 - one for each kind of role
    *,
    writer: Writers = None,
    inline: InlineWriters = None,
    worker: Workers = None,
    operator: Operators = None,
    reader: Readers = None,
    all_: Annotated[
        list[str] | None, typer.Option("--all", help="Role that is to lose all rights.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Take rights from roles. Repeat an option to name several roles. A role keeps what its other kinds need."""
    given = named(writer=writer, inline=inline, worker=worker, operator=operator, reader=reader, all=all_)
    everything = given.pop("all", [])
    by_kind = {kind: [*given.get(kind, ()), *everything] for kind in NAMES}
    try:
        with connect("owner") as conn, conn.transaction():
            roles.revoke(conn, **by_kind)
            left = {found.role: found.kinds for found in roles.rights(conn)}
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    asked = {role: left.get(role, []) for names in by_kind.values() for role in names}
    if json:
        print_json(asked)
        return
    for role, kinds in asked.items():
        rest = f"still {', '.join(NAMES[kind] for kind in kinds)}" if kinds else "nothing"
        say(f"{role} is {rest}.")


def named(**given: list[str] | None) -> ByKind:
    """Returns the roles that options name, by kind.

    :raises typer.BadParameter: there are none.
    """
    found = {kind: names for kind, names in given.items() if names}
    if not found:
        raise typer.BadParameter(f"name a role: {', '.join(f'--{kind}' for kind in given)}")
    return found


def roles_(*, json: AsJson = False) -> None:
    """Show which role may do what, directly, as a member of another role, or as everyone (PUBLIC) may."""
    with connect("owner") as conn:
        found = roles.rights(conn)
    print_rows(roles.Rights, found, as_json=json)
