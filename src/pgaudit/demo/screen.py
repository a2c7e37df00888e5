"""What the demo shows while it runs: a live picture on a terminal, a line a second elsewhere."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from pgaudit.demo.counts import Figures
from pgaudit.demo.rates import Pace, sparkline

LINE_EVERY: Final = 1.0
BAR_WIDTH: Final = 52


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """What is shown of a worker."""

    name: str
    state: str
    work: str


@dataclass(frozen=True, slots=True)
class Moment:
    """The demo at one moment, times in seconds."""

    elapsed: float
    seconds: float
    figures: Figures
    workers: Sequence[WorkerLine]


class Screen(Protocol):
    """Where the demo is shown."""

    def show(self, moment: Moment) -> None:
        """Shows the demo as it is now."""

    def tell(self, elapsed: float, text: str) -> None:
        """Tells what has just happened."""


@contextmanager
def screen(console: Console) -> Generator[Screen]:
    """Returns the screen for a terminal, or the one for a file."""
    if not console.is_terminal:
        yield Lines(console)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield Picture(live)


class Lines:
    """For a pipe or a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._next_line = 0.0

    def show(self, moment: Moment) -> None:
        self._pace.note(moment.figures)
        if moment.elapsed < self._next_line or not moment.elapsed:
            return
        self._next_line = moment.elapsed + LINE_EVERY
        now = moment.figures
        counted = f"{now.changes:>7,} changes = {now.logged:>7,} in the log + {now.queued:>5,} queued"
        self.tell(moment.elapsed, f"{counted}   {self._pace.logged:>5,.0f} events/s")

    def tell(self, elapsed: float, text: str) -> None:
        self._console.print(f"{elapsed:6.1f} s  {text}", soft_wrap=True)


class Picture:
    """For a terminal."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._pace = Pace()
        self._story = Table.grid(padding=(0, 2))
        self._story.add_column(justify="right", style="dim", min_width=8)
        self._story.add_column()

    def show(self, moment: Moment) -> None:
        self._pace.note(moment.figures)
        parts = (bar(moment), figures_table(moment.figures, self._pace), workers_table(moment.workers), self._story)
        self._live.update(Group(*(line for part in parts for line in ("", part))), refresh=True)

    def tell(self, elapsed: float, text: str) -> None:
        self._story.add_row(f"{elapsed:.1f} s", text)


def bar(moment: Moment) -> Table:
    """Returns the progress bar."""
    elapsed = min(moment.elapsed, moment.seconds)
    grid = Table.grid(padding=(0, 2))
    progress = ProgressBar(total=moment.seconds, completed=elapsed, width=BAR_WIDTH)
    grid.add_row("", progress, f"[bold]{elapsed:.1f}[/] of {moment.seconds:g} s")
    return grid


def figures_table(now: Figures, pace: Pace) -> Table:
    """Returns a table of the changes and of where their events are."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(min_width=17)
    grid.add_column(justify="right", min_width=7)
    grid.add_column(justify="right", min_width=7)
    grid.add_column()
    grid.add_row("", "claims", f"{now.claims:,}")
    grid.add_row("", "committed changes", f"[bold]{now.changes:,}[/]", f"{pace.changes:,.0f}/s")
    logged = sparkline(pace.rates)
    grid.add_row("", "  in the log", f"[bold green]{now.logged:,}[/]", f"{pace.logged:,.0f}/s", f"[green]{logged}[/]")
    queued = sparkline(pace.depths)
    grid.add_row("", "  in the queue", f"[bold yellow]{now.queued:,}[/]", "", f"[yellow]{queued}[/]")
    grid.add_row("", "rolled back", f"{now.rolled_back:,}", "", "[dim]leaves no event[/]")
    return grid


def workers_table(workers: Sequence[WorkerLine]) -> Table:
    """Returns a table of the workers and what each has done."""
    grid = Table.grid(padding=(0, 2))
    for worker in workers:
        grid.add_row("", worker.name, worker.state, f"[dim]{worker.work}[/]")
    return grid
