"""Detects ``bind`` blocks in a generator whose steps run in different contexts, such as a dependency of FastAPI."""

import inspect
from typing import Final

POOLS: Final = ("anyio", "concurrent")  # packages that run a function in a pool's thread, in a copy of the context
PASSING: Final = ("contextlib", "starlette")  # packages that resume a generator once, and return


def is_suspended_with_its_generator() -> bool:
    """Returns whether the caller's caller is a generator that a thread pool resumes, as it does for FastAPI.

    The pool resumes it in one copy of the context up to its ``yield``, and later in another copy, so a context variable
    that it sets is lost. A generator that a function of the application iterates over stays in that function's context:
    then the result is False.
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
