"""What a statement does, as far as its first word tells: what it calls is not seen."""

import re
from typing import Final

BLANK: Final = r"(?:[\s(;]++|--[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)*+"
WRITES: Final = re.compile(rf"{BLANK}(?:insert|update|delete|merge|truncate|copy|call|do)\b", re.IGNORECASE)
MAY_COMMIT: Final = re.compile(rf"{BLANK}(?:call|do)\b", re.IGNORECASE)
MAY_CONTAIN_WRITES: Final = re.compile(rf"{BLANK}(?:with|explain)\b", re.IGNORECASE)
# Not that of SELECT … FOR UPDATE, FOR NO KEY UPDATE.
WITHIN: Final = re.compile(
    r"\b(?:insert\s+into|delete\s+from|merge\s+into|(?<!for\s)(?<!key\s)update\s)", re.IGNORECASE
)
ENDS: Final = re.compile(rf"{BLANK}(?:rollback|abort|commit|end|prepare\s+transaction)\b", re.IGNORECASE)


def writes(statement: str) -> bool:
    """Returns whether a statement changes rows. A SELECT does not, although a function that it calls may.

    >>> writes("WITH old AS (DELETE FROM claims RETURNING id) SELECT id FROM old"), writes("SELECT 1 FOR UPDATE")
    (True, False)
    """
    if WRITES.match(statement):
        return True
    return MAY_CONTAIN_WRITES.match(statement) is not None and WITHIN.search(statement) is not None


def may_commit(statement: str) -> bool:
    """Returns whether a statement may end transactions itself, which it can only if it is sent on its own."""
    return MAY_COMMIT.match(statement) is not None


def ends_transaction(statement: str) -> bool:
    """Returns whether a statement ends a transaction, or goes back to a savepoint of it."""
    return ENDS.match(statement) is not None
