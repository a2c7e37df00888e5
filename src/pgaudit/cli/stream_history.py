"""What a stream has sent, and what it could not."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Self

import typer

from pgaudit import streams
from pgaudit.cli.database import connect
from pgaudit.cli.output import BIGINT, AsJson, print_json, print_rows
from pgaudit.cli.stream import Name
from pgaudit.cli.terminal import end_with_reader, say
from pgaudit.streams import Delivery, ParkedEvent

Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of lines.")]


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery in a list."""

    ended_at: datetime
    status: str
    from_index: int
    to_index: int
    events: int
    parked: int
    chunks: int
    attempts: int
    seconds: float
    error: str | None

    @classmethod
    def of(cls, one: Delivery) -> Self:
        """The line of a delivery."""
        return cls(
            one.ended_at, one.status, one.from_index, one.to_index, one.events, one.parked, one.chunks, one.attempts,
            one.seconds, one.error,
        )  # fmt: skip


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(history)
    app.command()(parked)


def history(name: Name, *, limit: Limit = 20, json: AsJson = False) -> None:
    """List the deliveries of the last 30 days, and what failed. Chunks of one minute that went well are one line."""
    end_with_reader()
    with connect("reader") as conn:
        streams.found(conn, name)
        found = streams.deliveries(conn, name, limit)
    if json:
        print_json([asdict(one) for one in found])
    elif not found:
        say(f"{name} has sent nothing within the last 30 days.")
    else:
        print_rows(DeliveryRow, [DeliveryRow.of(one) for one in found], as_json=False)


def parked(
    name: Name,
    *,
    after: Annotated[int, typer.Option(min=-1, max=BIGINT, help="Begin behind this index.")] = -1,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List parked events. The destination has refused them for good, or they wait for one of the same target."""
    end_with_reader()
    with connect("reader") as conn:
        stream = streams.found(conn, name)
        found = streams.parked(conn, name, after, limit)
    if json:
        print_json([asdict(one) for one in found])
    elif not found:
        say(f"{name} has parked no event.")
    else:
        print_rows(ParkedEvent, found, as_json=False)
        if stream.parked > len(found):
            say(f"{len(found):,} of {stream.parked:,}: go on with --after {found[-1].index}.", error=True)
