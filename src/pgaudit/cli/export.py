"""``pgaudit export``: the events that a query finds, as a file or as a pack."""

import signal
from typing import Any

import typer

from pgaudit.cli.database import connect
from pgaudit.cli.export_access import ExportAccess
from pgaudit.cli.export_options import (
    Bom,
    Columns,
    Complete,
    Force,
    FormatName,
    OutputName,
    PolicyFile,
    Proof,
    QueryText,
    Quiet,
    Resume,
    Tiles,
    Unrecorded,
    Vkeys,
)
from pgaudit.cli.file_export import FileOptions, export_file
from pgaudit.cli.pack_export import PackOptions, check_fitting, export_pack
from pgaudit.errors import ExportRefused


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(export)


def export(  # noqa: PLR0913 - one for each option
    query: QueryText = "",
    *,
    output: OutputName,
    format: FormatName = None,  # noqa: A002 - the name of the option
    column: Columns = None,
    bom: Bom = False,
    resume: Resume = False,
    force: Force = False,
    quiet: Quiet = False,
    unrecorded: Unrecorded = False,
    proof: Proof = False,
    complete: Complete = False,
    tiles: Tiles = False,
    policy: PolicyFile = None,
    vkey: Vkeys = None,
) -> None:
    """Export the events that a query finds: exactly these, in the order of the log, up to its present end.

    Records who exports what, at its start and its end. FILE.manifest.json has counts and the SHA-256 of the file.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its end is recorded, as after Ctrl-C
    if proof:
        check_fitting(output, format, column, bom, resume)
    elif complete or tiles or policy or vkey:
        raise ExportRefused("--complete, --tiles, --policy and --vkey belong to a pack: add --proof")
    common: dict[str, Any] = {"query": query, "output": output, "force": force, "quiet": quiet}
    with connect("reader") as conn:
        access = ExportAccess(conn, unrecorded=unrecorded)
        if proof:
            pack = PackOptions(tiles=tiles, complete=complete, policy=policy, vkeys=vkey, **common)
            export_pack(conn, access, pack)
        else:
            file = FileOptions(format=format, columns=column, bom=bom, resume=resume, **common)
            export_file(conn, access, file)
