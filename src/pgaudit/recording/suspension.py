"""Blocks that stay open when the call that opened them has returned, and its context is gone."""

import inspect
from typing import Final

POOLS: Final = ("anyio", "concurrent")  # what calls a function in a thread of a pool, in a copy of the context
PASSING: Final = ("contextlib", "starlette")  # what takes the next step of a generator, and returns


def is_suspended_with_its_generator() -> bool:
    """Returns whether the caller's caller is a generator of which a pool takes one step, as of a dependency of FastAPI.

    It is suspended when the step is done, and its next one has another context. A generator that a function of the
    application runs through does not count: it stays in the context of that function.
    """
    caller = inspect.currentframe()
    frame = caller and caller.f_back and caller.f_back.f_back
    found = False
    while frame:
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        if module in POOLS:
            return found
        if module not in PASSING:
            if not frame.f_code.co_flags & inspect.CO_GENERATOR:
                return False
            found = True
        frame = frame.f_back
    return False
