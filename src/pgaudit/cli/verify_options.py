"""The options of ``pgaudit verify``."""

from pathlib import Path
from typing import Annotated, Final

import typer

ALL: Final = 100.0  # percent

Vkeys = Annotated[
    list[str] | None,
    typer.Option(metavar="VKEY", help="A public key of the log, from `pgaudit keys show`. May be repeated."),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A C2SP tlog-policy, in place of --vkey: the keys of the log, and the witnesses that are required.",
    ),
]
AnchorUrls = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="A place that keeps checkpoints, as in PGAUDIT_ANCHORS. May be repeated."),
]
Since = Annotated[
    bool,
    typer.Option(
        "--since",
        help="Only what was appended since the last verification that found nothing, as the database remembers it.",
    ),
]
Sample = Annotated[
    float,
    typer.Option(
        min=0.001,
        max=ALL,
        metavar="PERCENT",
        help="Compare only this percentage of the sealed events, chosen at random. The tree and all checkpoints "
        "are verified as a whole.",
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        min=0, max=64, help="Number of further connections that compute hashes, each on a core of the server."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result alone, without progress.")]
