"""Saves how several jobs ended with one statement."""

import asyncio
from collections.abc import Awaitable, Callable, Collection


class GroupedSaves:
    """Saves that jobs are done. Jobs that end while a statement runs are saved together by the next one."""

    def __init__(self, save: Callable[[Collection[int]], Awaitable[None]]) -> None:
        self._save = save
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._lock = asyncio.Lock()

    async def save(self, job: int) -> None:
        """Waits until the job is saved."""
        self._waiting[job] = saved = asyncio.get_running_loop().create_future()
        async with self._lock:
            if saved.done():
                saved.result()
                return
            waiting, self._waiting = self._waiting, {}
            try:
                await self._save(waiting)
            except BaseException as error:
                for each in waiting.values():
                    each.set_exception(error)
                    each.exception()  # those who wait raise it; if none does, it is no news
                raise
            for each in waiting.values():
                each.set_result(None)
