"""``pgaudit keys``: the keys that sign the log."""

import re
from pathlib import Path
from typing import Annotated

import typer

from pgaudit.cli.database import connect
from pgaudit.cli.output import AsJson, print_json
from pgaudit.cli.terminal import say
from pgaudit.errors import InvalidKey
from pgaudit.events import AuditEvent
from pgaudit.recording.audit_log import AuditLog
from pgaudit.sealing import keys as files
from pgaudit.sealing.notes import VerifierKey
from pgaudit.settings import Settings

app = typer.Typer(help="Make, show and replace the keys that sign the log.", no_args_is_help=True)
NAME = re.compile(r"[^\s+]{1,255}")
File = Annotated[Path, typer.Argument(metavar="FILE", help="The file with the private key.")]
KeyOrPublic = Annotated[Path, typer.Argument(metavar="FILE", help="The file with the private key, or FILE.pub.")]
PostQuantum = Annotated[
    bool,
    typer.Option("--ml-dsa", help="Add an ML-DSA-44 key, which is safe from quantum computers; 3.3 kB a checkpoint."),
]


@app.command()
def new(
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="Permanent name of the log, such as audit.example.com/claims."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The new file.")],
    *,
    ml_dsa: PostQuantum = False,
) -> None:
    """Make a key. Give FILE to the workers that sign, as PGAUDIT_SIGNING_KEY, and FILE.pub to those who verify."""
    if not NAME.fullmatch(name):
        raise InvalidKey("the name of a log has neither spaces nor +, such as audit.example.com/claims")
    made = files.new_keys(name, post_quantum=ml_dsa)
    files.create(output, made)
    tell([key.verifier for key in made], json=False)


@app.command()
def show(file: KeyOrPublic, *, json: AsJson = False) -> None:
    """Show the public keys of a file, the newest first. They verify what the private keys have signed."""
    if file.suffix != files.PUBLIC_SUFFIX:
        files.load(str(file))
    keys = files.public_keys(file)
    if not keys:
        raise InvalidKey(f"there is no public key in {files.public_path(file)}")
    tell(keys, json=json)


@app.command()
def rotate(file: File, *, ml_dsa: PostQuantum = False) -> None:
    """Replace the key of a file by a new one. The old public key stays beside it, and the change is recorded."""
    old = files.load(str(file))
    made = files.new_keys(old[0].name, post_quantum=ml_dsa)
    with connect("writer") as conn:
        data = {"old": [str(key.verifier) for key in old], "new": [str(key.verifier) for key in made]}
        with conn.transaction():
            AuditLog(Settings()).record(conn, AuditEvent(action="audit.key_rotated", data=data))
            files.replace_keys(file, made)
    tell([key.verifier for key in made], json=False)


def tell(vkeys: list[VerifierKey], *, json: bool) -> None:
    """Prints public keys, one on each line."""
    if json:
        print_json([str(key) for key in vkeys])
    else:
        for key in vkeys:
            say(str(key))
