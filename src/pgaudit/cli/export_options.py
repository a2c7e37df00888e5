"""The options of ``pgaudit export``."""

from pathlib import Path
from typing import Annotated, Final, get_args

import typer

from pgaudit.trail.export.plans import Format

FORMATS: Final = get_args(Format)

QueryText = Annotated[
    str, typer.Argument(help='What to export, such as "action:claim.* tenant:north"; left out, everything.')
]
OutputName = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="The file; a directory, in which the file is named after its first and last index; "
        "or - for standard output, without a manifest.",
    ),
]
FormatName = Annotated[
    str | None,
    typer.Option(metavar="|".join(FORMATS), help="Default: what the name of the file ends with, or ndjson."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(help='CSV and Parquet: a further column, such as "data.amount". May be repeated.'),
]
Bom = Annotated[bool, typer.Option("--bom", help="CSV: begin with the mark by which Excel knows UTF-8.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted export. The query may be left out.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file of that name.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print neither progress nor the result.")]
Unrecorded = Annotated[
    bool, typer.Option("--unrecorded", help="Export from a read-only standby, where no event can be recorded.")
]
Proof = Annotated[
    bool,
    typer.Option(
        "--proof",
        help="Write a pack: a directory or zip file with sealed events, what proves them, and a program "
        "that verifies them.",
    ),
]
Complete = Annotated[
    bool,
    typer.Option(
        "--complete",
        help="With --proof, for a query that is one target:TYPE:ID: show that these are all its events, up to the end "
        "of the last sealed day.",
    ),
]
Tiles = Annotated[
    bool, typer.Option("--tiles", help="With --proof: the tree in tiles, smaller from about 8 neighbours on.")
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="With --proof: whose signatures verify it. Default: the keys beside the private one.",
    ),
]
Vkeys = Annotated[list[str] | None, typer.Option(help="With --proof, in place of a policy: a public key of the log.")]
