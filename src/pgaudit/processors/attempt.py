"""One attempt: calls a processor's function, and says how that ended."""

import asyncio
import inspect
import threading
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Self

from pgaudit.processors.declaration import Processor
from pgaudit.processors.entry import ProcessorEntry
from pgaudit.processors.exceptions import Discard, Retry


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The job is done."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """The processor has given the event up."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt has failed.

    :ivar counted: whether the processor counts as failing.
    :ivar retry_in: seconds until the next attempt; None after the last one.
    """

    counted: bool
    retry_in: float | None
    error_class: str
    sqlstate: str | None
    message: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException, retry_in: float | None) -> Self:
        """Returns the failure that an exception of the function stands for."""
        return cls(
            counted=not isinstance(error, Retry),
            retry_in=retry_in,
            error_class=type(error).__name__,
            sqlstate=state if isinstance(state := getattr(error, "sqlstate", None), str) else None,
            message=storable(text_of(error)),
            traceback=storable("".join(traceback.format_exception(error))),
        )


Outcome = Succeeded | Discarded | Failed
Overrun = Callable[[str], Awaitable[None]]


async def attempt(processor: Processor, entry: ProcessorEntry, overrun: Overrun, *, unchecked: bool = False) -> Outcome:
    """Calls the function with the event, and returns how that ended.

    :param overrun: is awaited with a sentence when a synchronous function has run for longer than its timeout.
    :param unchecked: ask ``when`` first.
    :raises asyncio.CancelledError: the worker stops.
    """
    delay = processor.retry.delay_after(entry.attempt)
    try:
        if not unchecked or (await in_thread(processor.wants, entry)).get():
            await call(processor, entry, overrun)
    except Discard as error:
        return Discarded(storable(str(error)))
    except Retry as error:
        return Failed.of(error, None if delay is None else error.in_seconds)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return Failed.of(error, delay)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the application's
        return Failed.of(error, delay)
    return Succeeded()


def text_of(error: BaseException) -> str:
    """Returns the message of an exception; its class if it has none."""
    try:
        return str(error) or repr(error)
    except Exception:  # noqa: BLE001 - it is the application's
        return type(error).__name__


def storable(text: str) -> str:
    """Returns a text that Postgres can store: without NUL and halves of characters, which may come from an event."""
    return text.replace("\0", "").encode(errors="replace").decode()


async def call(processor: Processor, entry: ProcessorEntry, overrun: Overrun) -> None:
    """Calls the function: an asynchronous one in this event loop, another one in a thread.

    :raises TimeoutError: it was cancelled.
    """
    if not processor.is_async:
        made = await call_in_thread(processor, entry, overrun)
        if not inspect.isawaitable(made):
            return
    else:
        made = processor.function(entry)
    timer = asyncio.timeout(processor.timeout)
    try:
        async with timer:
            await made
    except TimeoutError:
        if timer.expired():
            raise TimeoutError(f"it was cancelled after its timeout of {processor.timeout:g} s") from None
        raise


async def call_in_thread(processor: Processor, entry: ProcessorEntry, overrun: Overrun) -> Any:
    """Returns what the function returns. Nothing can stop its thread, so the job does not end before it."""
    running = asyncio.ensure_future(in_thread(processor.function, entry))
    done, _ = await asyncio.wait({running}, timeout=processor.timeout)
    if not done:
        await overrun(
            f"it has run for longer than its timeout of {processor.timeout:g} s: nothing can stop a synchronous "
            "function, so the job waits until it returns"
        )
    return (await running).get()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a function in a thread has ended. Not as the exception of a future: SystemExit would end the event loop."""

    value: Any = None
    error: BaseException | None = None

    def get(self) -> Any:
        """Returns what the function has returned, or raises what it has raised."""
        if self.error is not None:
            raise self.error
        return self.value


async def in_thread(function: Callable[..., Any], *arguments: object) -> Ended:
    """Calls a function in a thread of its own, for which no shutdown waits."""
    loop, context = asyncio.get_running_loop(), copy_context()
    future: asyncio.Future[Ended] = loop.create_future()

    def end(ended: Ended) -> None:
        if not future.done():
            future.set_result(ended)

    def body() -> None:
        try:
            ended = Ended(context.run(function, *arguments))
        except BaseException as raised:  # noqa: BLE001 - get() raises it
            ended = Ended(error=raised)
        with suppress(RuntimeError):  # the loop is closed: the worker has stopped meanwhile
            loop.call_soon_threadsafe(end, ended)

    threading.Thread(target=body, name=f"processor {getattr(function, '__name__', '')}", daemon=True).start()
    return await future
