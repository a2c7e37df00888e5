"""Time-ordered identifiers: PostgreSQL has uuidv7() from 18 on, Python from 3.14."""

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """Returns a version 7 UUID (RFC 9562): 48 bits of Unix milliseconds, 74 random bits.

    >>> uuid7().version
    7
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    return UUID(int=(milliseconds << 80) | (7 << 76) | ((random >> 68) << 64) | (2 << 62) | (random & (1 << 62) - 1))
