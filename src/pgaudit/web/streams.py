"""Responses that are sent piece by piece."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class ClosedStream(StreamingResponse):
    """A response whose generator is closed when the client leaves, not when it is garbage-collected.

    :param closed: called at the end, also if the client has left before the beginning.
    """

    def __init__(
        self,
        content: AsyncGenerator[bytes],
        media_type: str,
        headers: dict[str, str] | None = None,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(content, headers=headers, media_type=media_type)
        self._content = content
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._closed()

    async def stream_response(self, send: Send) -> None:
        """Sends the pieces."""
        async with aclosing(self._content):
            await super().stream_response(send)
