"""The last scene: the owner of the database alters an event, and the sealed log gives them away."""

import tempfile
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from rich.console import Console
from rich.markup import escape

from pgaudit.sealing.keys import HighWaterMark, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.verify import Verification, verify

NAME: Final = "demo.example.com/claims"
PARTITION: Final = "SELECT tableoid::regclass::text FROM pgaudit.audit_log WHERE index = %s"
OFF: Final = "ALTER TABLE {} DISABLE TRIGGER append_only"
ON: Final = "ALTER TABLE {} ENABLE ALWAYS TRIGGER append_only"
# The event with another amount, and its hash, so that both match again.
ALTER: Final = """
    UPDATE pgaudit.audit_log SET event = jsonb_set(event, '{data,amount}', '"1.00"') WHERE index = %(index)s;
    UPDATE pgaudit.audit_log SET leaf_hash = pgaudit.leaf_hash(event) WHERE index = %(index)s
"""


def show(console: Console, conn: psycopg.Connection[Any]) -> bool:
    """Seals the log, alters an event of it in a transaction that is rolled back, and verifies before and after that.

    Returns whether the change was found, and nothing else.
    """
    with tempfile.TemporaryDirectory(prefix="pgaudit-demo-key-") as directory:
        signer = Signer(new_keys(NAME), HighWaterMark(Path(directory, "mark")))
        seal(conn, signer)
    keys = [key.verifier for key in signer.keys]
    (size,) = conn.execute("SELECT size FROM pgaudit.log_head").fetchone() or (0,)
    index = size // 2
    with conn.transaction(force_rollback=True):
        alter(conn, index)
        caught = verify(conn, keys=keys)
    clean = verify(conn, keys=keys)
    tell(console, index, caught, clean)
    return [finding.index for finding in caught.findings] == [index] and clean.count == 0


def alter(conn: psycopg.Connection[Any], index: int) -> None:
    """Does what only the owner can: the guards are off, and as before afterwards."""
    (partition,) = conn.execute(PARTITION, [index]).fetchone() or ("",)
    name = sql.Identifier(*partition.split("."))
    conn.execute(sql.SQL(OFF).format(name))
    for statement in ALTER.split(";"):
        conn.execute(sql.SQL(statement), {"index": index})
    conn.execute(sql.SQL(ON).format(name))


def tell(console: Console, index: int, caught: Verification, clean: Verification) -> None:
    """Prints the three lines."""
    found = "; ".join(finding.message for finding in caught.findings) or "nothing was found"
    console.print(
        f"\n[bold]The owner[/] switches a guard off, alters event {index:,} with its hash, and switches the guard on.",
        f"[bold]pgaudit verify[/] says: [yellow]{escape(found)}[/].",
        f"[bold]Rolled back[/], it says: {clean.end:,} events verified, assurance {clean.level.name.lower()}.",
        sep="\n",
        soft_wrap=True,
    )
