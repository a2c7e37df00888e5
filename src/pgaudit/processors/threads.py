"""Calls a function in a thread of its own, which no shutdown waits for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of a call in a thread. An exception is not set on a future: SystemExit would end the event loop."""

    value: Any = None
    error: BaseException | None = None

    def get(self) -> Any:
        """Returns what the function has returned, or raises what it has raised."""
        if self.error is not None:
            raise self.error
        return self.value


async def in_thread(function: Callable[..., Any], *arguments: object) -> CallResult:
    """Calls a function in a daemon thread, which does not delay the end of the process."""
    loop, context = asyncio.get_running_loop(), copy_context()
    future: asyncio.Future[CallResult] = loop.create_future()

    def end(ended: CallResult) -> None:
        if not future.done():
            future.set_result(ended)

    def body() -> None:
        try:
            ended = CallResult(context.run(function, *arguments))
        except BaseException as raised:  # noqa: BLE001 - get() raises it
            ended = CallResult(error=raised)
        with suppress(RuntimeError):  # the loop is closed: the worker has stopped meanwhile
            loop.call_soon_threadsafe(end, ended)

    threading.Thread(target=body, name=f"processor {getattr(function, '__name__', '')}", daemon=True).start()
    return await future
