"""How the demo ends: the verification, the trail of one claim, and where to go next."""

from pathlib import Path
from typing import Any, Final

import psycopg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pgaudit.demo import claims
from pgaudit.demo.counts import Takeover, figures
from pgaudit.demo.verification import Step, Verification, claim_to_show, trail_of, verify

NEXT: Final = (
    ("pgaudit demo --serve", "does it again, and keeps the dashboard up to look around"),
    ("pgaudit migrate", "puts its schema into your database (PGAUDIT_DSN)"),
    ("pgaudit worker", "moves what your application records into the log"),
    ("pgaudit stats --watch", "shows the queue, the workers and the throughput"),
    ("pgaudit --help", "lists the rest"),
)
COLUMNS: Final = ("index", "occurred at", "action", "actor", "lag", "worker", "detail")
NUMBERS: Final = {"index", "lag", "worker"}


def print_report(console: Console, conn: psycopg.Connection[Any], takeover: Takeover | None) -> bool:
    """Prints verification and trail; whether the verification is right."""
    verification = verify(conn)
    print_verification(console, verification, figures(conn).rolled_back)
    claim = claim_to_show(conn, takeover.event_id if takeover else None)
    if claim is not None:
        console.print(trail_table(claim, trail_of(conn, claim), takeover))
    return verification.right


def print_verification(console: Console, verification: Verification, rolled_back: int) -> None:
    """Prints both counts, and what does not match."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(min_width=22)
    grid.add_column(justify="right", min_width=7)
    grid.add_column(style="dim")
    grid.add_row("", "committed changes", f"[bold]{verification.changes:,}[/]", "by each claim's own count")
    grid.add_row("", "events in the log", f"[bold]{verification.events:,}[/]", "")
    grid.add_row("", "  missing", verdict(verification.missing), "changes without their event")
    grid.add_row("", "  doubled", verdict(verification.doubled), "changes with more than one")
    grid.add_row(
        "", "  of rolled-back changes", verdict(verification.unfounded), f"{rolled_back:,} changes were rolled back"
    )
    grid.add_row("", "  gaps in the index", verdict(verification.gaps), "")
    grid.add_row("", "  altered", verdict(verification.altered), "events that do not match their SHA-256")
    right = "[bold green]Every committed change has its event in the log, once.[/]"
    wrong = "[bold red]The trail is not what it should be.[/]"
    console.print("\n[bold]The verification[/], by SQL\n", grid, "", right if verification.right else wrong, sep="\n")


def verdict(count: int) -> str:
    """Returns a number that should be 0, coloured."""
    return f"[bold red]{count:,}[/]" if count else "[bold green]0[/]"


def trail_table(claim: str, steps: list[Step], takeover: Takeover | None) -> Table:
    """Returns the trail of one claim as a table."""
    about = ", with the event that was [yellow]taken over[/]" if takeover else ""
    table = Table(
        title=f"\n[bold]The trail of claim {claim}[/]{about}\n",
        title_justify="left",
        title_style="",
        box=None,
        padding=(0, 0, 0, 2),
    )
    for name in COLUMNS:
        width = 8 if name == "detail" else None  # so much is left of 80
        table.add_column(
            name, justify="right" if name in NUMBERS else "left", no_wrap=True, max_width=width, header_style="dim"
        )
    for step in steps:
        table.add_row(
            f"{step.index:,}", f"{step.occurred_at:%H:%M:%S.%f}"[:-3], step.action, step.actor,
            f"{step.lag:.2f} s", str(step.worker), escape(step.detail or "–"),
            style="yellow" if takeover and step.event_id == takeover.event_id else None,
        )  # fmt: skip
    return table


def print_next(console: Console) -> None:
    """Prints what to do next."""
    grid = Table.grid(padding=(0, 2))
    for command, purpose in NEXT:
        grid.add_row("", f"[bold]{command}[/]", purpose)
    console.print("\n[bold]Where to go next[/]\n", grid, "", sep="\n")
    console.print(f"The application you have just seen, to read in two minutes:\n  {source()}\n", soft_wrap=True)


def source() -> Path:
    """Returns the path of the application's file, relative to this directory."""
    path = Path(claims.__file__).resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
