"""One attempt at a job: calls the processor's function, and returns the outcome."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from pgaudit.processors.declaration import Processor
from pgaudit.processors.entry import ProcessorEntry
from pgaudit.processors.exceptions import Discard, Retry
from pgaudit.processors.outcomes import Discarded, Failed, Outcome, Succeeded, storable
from pgaudit.processors.threads import in_thread

Overrun = Callable[[str], Awaitable[None]]


async def attempt(processor: Processor, entry: ProcessorEntry, overrun: Overrun, *, unchecked: bool = False) -> Outcome:
    """Calls the function with the event, and returns the outcome.

    :param overrun: is awaited with a message when a synchronous function runs for longer than its timeout.
    :param unchecked: whether ``when`` has not been evaluated yet for this event.
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


async def call(processor: Processor, entry: ProcessorEntry, overrun: Overrun) -> None:
    """Calls the function: an asynchronous one in this event loop, a synchronous one in a thread.

    :raises TimeoutError: an asynchronous function was cancelled after its timeout.
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
    """Returns what the function returns. A thread cannot be stopped, so the job does not end before it."""
    running = asyncio.ensure_future(in_thread(processor.function, entry))
    done, _ = await asyncio.wait({running}, timeout=processor.timeout)
    if not done:
        await overrun(
            f"it has run for longer than its timeout of {processor.timeout:g} s: nothing can stop a synchronous "
            "function, so the job waits until it returns"
        )
    return (await running).get()
