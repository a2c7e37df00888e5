"""The decorator by which an application declares a processor, and all that were declared."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from pgaudit.errors import InvalidProcessor
from pgaudit.processors.backoff import Backoff
from pgaudit.processors.declaration_checks import NAME, check_function, check_numbers, index_of, query_of
from pgaudit.processors.entry import ProcessorEntry
from pgaudit.trail.entry import Entry
from pgaudit.trail.query import Query

F = TypeVar("F", bound=Callable[[ProcessorEntry], Any])
Start = Literal["now", "beginning"] | int


@dataclass(frozen=True, slots=True)
class Processor:
    """A function that gets a job for each event it asks for. ``processor`` has its properties."""

    name: str
    function: Callable[[ProcessorEntry], Any]
    query: Query
    when: Callable[[Entry], object] | None
    retry: Backoff
    timeout: float | None
    concurrency: int | None
    rate: float | None
    break_after: int | None
    start: int | None

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function, which a timeout can cancel."""
        return any(map(inspect.iscoroutinefunction, (self.function, getattr(self.function, "__call__", None))))  # noqa: B004

    def wants(self, entry: Entry) -> bool:
        """Returns whether ``when`` selects the event; what it raises is raised."""
        return self.when is None or bool(self.when(entry))


DECLARED: Final[dict[str, Processor]] = {}


def processor(  # noqa: PLR0913 - each is a property of the processor, by name
    name: str,
    *,
    on: str | Sequence[str] | Query,
    when: Callable[[Entry], object] | None = None,
    retry: Backoff | int = Backoff(),  # noqa: B008 - it is frozen
    timeout: float | None = None,
    concurrency: int | None = None,
    rate: float | None = None,
    break_after: int | None = 20,
    start: Start = "now",
) -> Callable[[F], F]:
    """Declares a function as a processor: workers call it with each event that it asks for, at least once.

    >>> @processor("large-claims", on="claim.approved", when=lambda entry: entry.event["data"]["amount"] > 100_000)
    ... async def tell_the_board(entry):
    ...     await send(entry.event, key=entry.idempotency_key)

    The function stays as it is, and can be called as before.

    :param name: of the processor, in the database and for people: it must stay the same.
    :param on: actions such as ``claim.approved`` or ``claim.*``, one or several; or a search, such as
        ``action:claim.* outcome:denied``; ``*`` for all events.
    :param when: selects from these events, in Python; it is called once for each, by the thread that dispatches them.
    :param retry: how often an event is tried, and with which delays; or just how often.
    :param timeout: seconds for one attempt. It cancels an asynchronous function; a synchronous one goes on in its
        thread, which nothing can stop: that is noted, and the job waits for it.
    :param concurrency: how many of its jobs run at the same time, in all workers together.
    :param rate: how many of its jobs are begun per second, in all workers together.
    :param break_after: failed attempts in a row after which it is paused, and tried once per minute; None for never.
    :param start: where it begins when a worker sees it for the first time: ``now``, ``beginning``, or an index.
    :raises InvalidProcessor: an argument cannot be used, or there is another processor of that name.
    """
    backoff = retry if isinstance(retry, Backoff) else Backoff(attempts=retry)
    check_numbers(name, timeout=timeout, concurrency=concurrency, rate=rate, break_after=break_after)
    query, first = query_of(name, on), index_of(name, start)

    def declare(function: F) -> F:
        check_function(name, function)
        add(Processor(name, function, query, when, backoff, timeout, concurrency, rate, break_after, first))
        return function

    if not NAME.fullmatch(name):
        raise InvalidProcessor(
            f"{name!r} is no name for a processor: it has 1 to 63 lower-case letters, digits, dots, hyphens and "
            "underscores, and begins with a letter or digit"
        )
    if when is not None and not callable(when):
        raise InvalidProcessor(f"processor {name}: when is a function that takes an entry, not {when!r}")
    return declare


def add(declared: Processor) -> None:
    """Adds a processor. Importing its module again replaces it.

    :raises InvalidProcessor: another function has that name.
    """
    known = DECLARED.setdefault(declared.name, declared)
    if place_of(known) != place_of(declared):
        raise InvalidProcessor(
            f"there are two processors {declared.name}: {'.'.join(place_of(known))} and {'.'.join(place_of(declared))}"
        )
    DECLARED[declared.name] = declared


def place_of(declared: Processor) -> tuple[str, str]:
    """Returns the module and the name of a processor's function."""
    function = declared.function
    return function.__module__, getattr(function, "__qualname__", type(function).__qualname__)
