"""Processes that fork, such as servers that load the application first: the child has the parent's locks and sockets.

A connection that two processes use answers one with what the other has asked, and the threads of a pool exist in the
parent alone.
"""

import os
from typing import Any, Final, Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """What has locks, threads or connections."""

    def renew(self) -> None:
        """Takes new ones, and touches none of the old ones: they belong to another process."""
        ...


_renewed: Final[WeakSet[Any]] = WeakSet()


def renew_in_child(renewable: Renewable) -> None:
    """Calls ``renew`` in each process that is forked from this one, before anything else runs there."""
    _renewed.add(renewable)


def _renew() -> None:
    for renewable in list(_renewed):
        renewable.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_renew)
