"""The routes about streams: how far each is, what it could not send, and operating it."""

from datetime import UTC, datetime
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

from pgaudit import streams
from pgaudit.settings import Settings
from pgaudit.streams import Stream
from pgaudit.web.api.stream_bodies import (
    After,
    Deliveries,
    Discard,
    Limit,
    Name,
    ParkedEvents,
    Pause,
    Replay,
    RetriedEvents,
    Retry,
    Rewind,
    StreamList,
    StreamTest,
)
from pgaudit.web.api.viewer import CurrentViewer
from pgaudit.web.lookups import Lookups
from pgaudit.web.reads import Reader
from pgaudit.web.stream_operations import Connection, StreamOperations
from pgaudit.web.stream_views import masked_deliveries, masked_stream, parked_events

NOT_PARKED: Final = "The stream has not parked that event."


class StreamRoutes:
    """The routes about streams."""

    def __init__(self, lookups: Lookups, settings: Settings) -> None:
        self._lookups = lookups
        self._settings = settings
        self._operations = StreamOperations(lookups, settings)
        self._streams = lookups.share(streams.list_streams)

    async def streams(self, viewer: CurrentViewer) -> StreamList:
        """Returns the streams, at most a second old."""
        found = await self._streams.result()
        return StreamList(datetime.now(UTC), [masked_stream(viewer, stream) for stream in found])

    async def stream(self, viewer: CurrentViewer, name: Name) -> Stream:
        """Returns one stream."""
        return await self._lookups.run(lambda conn: masked_stream(viewer, streams.get_stream(conn, name)))

    async def deliveries(self, viewer: CurrentViewer, name: Name, limit: Limit = 50) -> Deliveries:
        """Returns the newest deliveries of the last 30 days: `delivered`, `replayed`, `failed`, `skipped` or others."""

        def look(conn: Connection) -> Deliveries:
            streams.get_stream(conn, name)
            return Deliveries(masked_deliveries(viewer, streams.deliveries(conn, name, limit)))

        return await self._lookups.run(look)

    async def parked(
        self, request: Request, viewer: CurrentViewer, name: Name, after: After = -1, limit: Limit = 50
    ) -> ParkedEvents:
        """Returns events that the destination has refused for good, and those that wait behind them."""
        reader = Reader.of(request, viewer, self._settings)

        def look(conn: Connection) -> ParkedEvents:
            streams.get_stream(conn, name)
            found = parked_events(conn, viewer, reader, name, after, limit)
            return ParkedEvents(found, found[-1].index if len(found) == limit else None)

        return await self._lookups.run(look)

    async def pause(self, request: Request, viewer: CurrentViewer, name: Name, body: Pause) -> Stream:
        """Pauses a stream. Nothing is lost: it continues where it stopped."""

        def operation(conn: Connection) -> Stream:
            streams.pause(conn, name, body.reason)
            return masked_stream(viewer, streams.get_stream(conn, name))

        return await self._operations.run(request, viewer, operation)

    async def resume(self, request: Request, viewer: CurrentViewer, name: Name) -> Stream:
        """Resumes a stream, and lets workers try to send at once."""

        def operation(conn: Connection) -> Stream:
            streams.resume(conn, name)
            return masked_stream(viewer, streams.get_stream(conn, name))

        return await self._operations.run(request, viewer, operation)

    async def rewind(self, request: Request, viewer: CurrentViewer, name: Name, body: Rewind) -> Stream:
        """Moves a stream to that event: all events from there on are sent again, or those in between are never sent."""

        def operation(conn: Connection) -> Stream:
            streams.rewind(conn, name, body.index)
            return masked_stream(viewer, streams.get_stream(conn, name))

        return await self._operations.run(request, viewer, operation)

    async def replay(self, request: Request, viewer: CurrentViewer, name: Name, body: Replay) -> Stream:
        """Sends a range again while there is nothing newer to send; the stream stays where it is."""

        def operation(conn: Connection) -> Stream:
            streams.replay(conn, name, body.first, body.last)
            return masked_stream(viewer, streams.get_stream(conn, name))

        return await self._operations.run(request, viewer, operation)

    async def stop_replay(self, request: Request, viewer: CurrentViewer, name: Name) -> Stream:
        """Stops a replay, if there is one."""

        def operation(conn: Connection) -> Stream:
            streams.stop_replay(conn, name)
            return masked_stream(viewer, streams.get_stream(conn, name))

        return await self._operations.run(request, viewer, operation)

    async def retry(self, request: Request, viewer: CurrentViewer, name: Name, body: Retry) -> RetriedEvents:
        """Sends parked events again: all, or one."""
        retried = await self._operations.run(request, viewer, lambda conn: streams.retry(conn, name, body.index))
        return RetriedEvents(retried)

    async def discard(self, request: Request, viewer: CurrentViewer, name: Name, body: Discard) -> Stream:
        """Discards a parked event; events that wait for it are sent."""

        def operation(conn: Connection) -> Stream | None:
            is_done = streams.discard(conn, name, body.index, body.reason)
            return masked_stream(viewer, streams.get_stream(conn, name)) if is_done else None

        stream = await self._operations.run(request, viewer, operation)
        if stream is None:
            raise HTTPException(404, NOT_PARKED)
        return stream

    async def test(self, name: Name) -> StreamTest:
        """Sends a test event, with the secrets and the network of this server."""
        accepted, result = await self._operations.test(name)
        return StreamTest(accepted, result)
