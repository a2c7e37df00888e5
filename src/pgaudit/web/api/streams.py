"""The routes about streams: how far each is, what it could not send, and operating it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request

from pgaudit import streams
from pgaudit.settings import Settings
from pgaudit.streams import Delivery, Stream
from pgaudit.trail.bounded import LARGEST_PAGE
from pgaudit.web.api.viewer import CurrentViewer
from pgaudit.web.lookups import Lookups
from pgaudit.web.reads import Reader
from pgaudit.web.routes import LARGEST_ID
from pgaudit.web.stream_operations import Connection, StreamOperations
from pgaudit.web.stream_views import ShownParked, parked_events

Name = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9_.-]{0,62}$", description="Name of a stream.")]
Index = Annotated[int, Field(ge=0, le=LARGEST_ID, json_schema_extra={"format": "int64"})]
After = Annotated[int, Query(ge=-1, le=LARGEST_ID, description="Events behind this index.")]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="The most rows to return.")]
Reason = Annotated[str, Field(max_length=900, pattern="^[^\x00]*$")]
NOT_PARKED: Final = "The stream has not parked that event."


@dataclass(frozen=True, slots=True)
class StreamList:
    """The streams to destinations, by name: rows of the view `pgaudit.stream_stats`."""

    observed_at: datetime
    streams: list[Stream]


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What was sent, or could not be, the newest first."""

    deliveries: list[Delivery]


@dataclass(frozen=True, slots=True)
class ParkedEvents:
    """Parked events in the order of the log. `next` is `after` of the next page."""

    parked: list[ShownParked]
    next: int | None


@dataclass(frozen=True, slots=True)
class RetriedEvents:
    """How many parked events are sent again; those behind them follow."""

    retried: int


@dataclass(frozen=True, slots=True)
class StreamTest:
    """Whether the destination takes an event from this server, and what it has answered."""

    accepted: bool
    result: str


class Pause(BaseModel, extra="forbid"):
    """Why a stream is paused."""

    reason: Reason | None = None


class Rewind(BaseModel, extra="forbid"):
    """The event that a stream goes on with."""

    index: Index


class Replay(BaseModel, extra="forbid"):
    """The events to send again, both included."""

    first: Index
    last: Index


class Retry(BaseModel, extra="forbid"):
    """The parked event to send again; all of them when it is null."""

    index: Index | None = None


class Discard(BaseModel, extra="forbid"):
    """The parked event to give up, and why."""

    index: Index
    reason: Reason


class StreamRoutes:
    """The routes about streams."""

    def __init__(self, lookups: Lookups, settings: Settings) -> None:
        self._lookups = lookups
        self._settings = settings
        self._operations = StreamOperations(lookups, settings)
        self._streams = lookups.share(streams.listed)

    async def streams(self) -> StreamList:
        """Returns the streams, at most a second old."""
        return StreamList(datetime.now(UTC), await self._streams.result())

    async def stream(self, name: Name) -> Stream:
        """Returns one stream."""
        return await self._lookups.run(lambda conn: streams.found(conn, name))

    async def deliveries(self, name: Name, limit: Limit = 50) -> Deliveries:
        """Returns the newest deliveries of the last 30 days: `delivered`, `replayed`, `failed`, `skipped` or others."""

        def look(conn: Connection) -> Deliveries:
            streams.found(conn, name)
            return Deliveries(streams.deliveries(conn, name, limit))

        return await self._lookups.run(look)

    async def parked(
        self, request: Request, viewer: CurrentViewer, name: Name, after: After = -1, limit: Limit = 50
    ) -> ParkedEvents:
        """Returns events that the destination has refused for good, and those that wait behind them."""
        reader = Reader.of(request, viewer, self._settings)

        def look(conn: Connection) -> ParkedEvents:
            streams.found(conn, name)
            found = parked_events(conn, viewer, reader, name, after, limit)
            return ParkedEvents(found, found[-1].index if len(found) == limit else None)

        return await self._lookups.run(look)

    async def pause(self, request: Request, viewer: CurrentViewer, name: Name, body: Pause) -> Stream:
        """Pauses a stream. Nothing is lost: it goes on where it was."""

        def operation(conn: Connection) -> Stream:
            streams.pause(conn, name, body.reason)
            return streams.found(conn, name)

        return await self._operations.run(request, viewer, operation)

    async def resume(self, request: Request, viewer: CurrentViewer, name: Name) -> Stream:
        """Ends the pause of a stream, and lets workers try at once."""

        def operation(conn: Connection) -> Stream:
            streams.resume(conn, name)
            return streams.found(conn, name)

        return await self._operations.run(request, viewer, operation)

    async def rewind(self, request: Request, viewer: CurrentViewer, name: Name, body: Rewind) -> Stream:
        """Lets a stream go on with that event: all that follows is sent again, or what lies between is left out."""

        def operation(conn: Connection) -> Stream:
            streams.rewind(conn, name, body.index)
            return streams.found(conn, name)

        return await self._operations.run(request, viewer, operation)

    async def replay(self, request: Request, viewer: CurrentViewer, name: Name, body: Replay) -> Stream:
        """Sends a range again while there is nothing newer to send; the stream stays where it is."""

        def operation(conn: Connection) -> Stream:
            streams.replay(conn, name, body.first, body.last)
            return streams.found(conn, name)

        return await self._operations.run(request, viewer, operation)

    async def stop_replay(self, request: Request, viewer: CurrentViewer, name: Name) -> Stream:
        """Ends a replay where it is, if there is one."""

        def operation(conn: Connection) -> Stream:
            streams.stop_replay(conn, name)
            return streams.found(conn, name)

        return await self._operations.run(request, viewer, operation)

    async def retry(self, request: Request, viewer: CurrentViewer, name: Name, body: Retry) -> RetriedEvents:
        """Sends parked events again: all, or one."""
        retried = await self._operations.run(request, viewer, lambda conn: streams.retry(conn, name, body.index))
        return RetriedEvents(retried)

    async def discard(self, request: Request, viewer: CurrentViewer, name: Name, body: Discard) -> Stream:
        """Gives up a parked event; those that wait behind it are sent."""

        def operation(conn: Connection) -> Stream | None:
            is_done = streams.discard(conn, name, body.index, body.reason)
            return streams.found(conn, name) if is_done else None

        stream = await self._operations.run(request, viewer, operation)
        if stream is None:
            raise HTTPException(404, NOT_PARKED)
        return stream

    async def test(self, name: Name) -> StreamTest:
        """Sends an event that is marked as a test, with the secrets and the network of this server."""
        accepted, result = await self._operations.test(name)
        return StreamTest(accepted, result)
