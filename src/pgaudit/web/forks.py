"""Replaces locks, threads and connections in a process that was forked, as by a server that preloads the application.

If two processes use the same connection, one can receive the answer to the query of the other. Threads of a pool exist
only in the parent, and a lock that one of them held is never released in the child.
"""

import os
from typing import Any, Final, Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """An object with locks, threads or connections."""

    def renew(self) -> None:
        """Replaces them without using the old ones, which belong to the parent process."""
        ...


_renewed: Final[WeakSet[Any]] = WeakSet()


def renew_in_child(renewable: Renewable) -> None:
    """Has ``renew`` called in each process that is forked from this one, before other code runs there."""
    _renewed.add(renewable)


def _renew() -> None:
    for renewable in list(_renewed):
        renewable.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_renew)
