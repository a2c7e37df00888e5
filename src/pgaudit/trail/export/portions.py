"""Reading the events of an export: a portion at a time, in the order of the log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pgaudit._reading import Steps, run, run_async
from pgaudit.trail.bounded import LARGEST_PAGE, search_bounded, start_search
from pgaudit.trail.entry import Entry
from pgaudit.trail.export.plans import Plan
from pgaudit.trail.export.rows import Row

R_co = TypeVar("R_co", bound=Row, covariant=True)


@dataclass(frozen=True, slots=True)
class Portion(Generic[R_co]):
    """Some events of an export; all that it has below the index ``position`` are now known."""

    rows: Sequence[R_co]
    position: int

    def masked(self, mask: Callable[[R_co], Row]) -> "Portion[Row]":
        """Returns the portion with each event as ``mask`` returns it."""
        return Portion([mask(row) for row in self.rows], self.position)


def portion(conn: object, plan: Plan, position: int, limit: int = LARGEST_PAGE) -> Portion[Entry]:
    """Returns the events of an export from an index on, up to a thousand; there may be none, and more behind them.

    It looks through a bounded number of rows, and leaves nothing behind on the connection: each portion may be read
    through another one.

    :param position: 0, or the position of the portion before. The export ends where it is the plan's size.
    :param limit: the most events to return.
    """
    return run(conn, portion_of(plan, position, limit))


async def portion_async(conn: object, plan: Plan, position: int, limit: int = LARGEST_PAGE) -> Portion[Entry]:
    """``portion`` for an asynchronous connection."""
    return await run_async(conn, portion_of(plan, position, limit))


def portion_of(plan: Plan, position: int, limit: int) -> Steps[Portion[Entry]]:
    """Finds the events of an export from an index on."""
    looking = yield from start_search(plan.query, range(position, plan.size), down=False, reads_entries=True)
    looks, _ = yield from search_bounded(looking, limit)
    entries = [entry for look in looks for entry in look.entries]
    return Portion(entries, plan.size if looking.is_finished else looking.position + 1)
