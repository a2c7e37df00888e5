"""Values of a row as capture records them, where an event has another form for them, or none."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, cast

from pgaudit.errors import InvalidEvent
from pgaudit.events import Change

Operation = Literal["insert", "update", "delete"]

MASKED: Final = "***"
MAX_ID: Final = 500  # characters of a target's id


def changes_between(
    operation: Operation, before: Mapping[str, object], after: Mapping[str, object], mask: Collection[str] = ()
) -> tuple[Change, ...]:
    """Returns the changes of a row: values that are not null of a new or deleted one, differences of another.

    :param mask: names of values that are recorded as ``"***"``.
    """
    if operation == "update":
        return tuple(
            change_of(name, {"before": before[name], "after": value}, masked=name in mask)
            for name, value in after.items()
            if name in before and differs(before[name], value)
        )
    side, values = ("after", after) if operation == "insert" else ("before", before)
    return tuple(
        change_of(name, {side: value}, masked=name in mask) for name, value in values.items() if value is not None
    )


def differs(before: object, after: object) -> bool:
    """Returns whether two values differ; values of other libraries, such as arrays, by what would be recorded."""
    try:
        return bool(before != after)
    except (TypeError, ValueError):  # naive and aware times, or an array without one truth value
        return str(before) != str(after)


def change_of(path: str, sides: Mapping[str, object], *, masked: bool) -> Change:
    """Returns a change with the sides that are given: before, after or both."""
    values = {side: MASKED if masked else row_value(value) for side, value in sides.items()}
    try:
        return Change(path=path, **values)
    except InvalidEvent:
        texts = {side: as_text(value) for side, value in values.items()}
        return Change(path=path, **texts)


def row_value(value: object) -> object:
    """Returns a value as capture records it, where events have no form for it: times without zone, bytes, NaN."""
    match value:
        case datetime() if value.tzinfo is None:
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return "\\x" + bytes(cast("bytes", value)).hex()
        case float() | Decimal() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
        case set() | frozenset():
            return sorted((row_value(item) for item in cast("set[object]", value)), key=str)
        case list() | tuple():
            return [row_value(item) for item in cast("Sequence[object]", value)]
        case _:
            return value


def as_text(value: object) -> object:
    """Returns the JSON text of an object or array that no event can hold, such as one that is nested too deep."""
    return json.dumps(value, default=str) if isinstance(value, Mapping | list) else value


def id_of(key: Sequence[object]) -> str:
    """Returns the id of a target: the values of its key, joined with commas, as capture joins them."""
    texts = ["NULL" if value is None else str(value) for value in key]
    text = texts[0] if len(texts) == 1 else ",".join(text.replace("!", "!!").replace(",", "!,") for text in texts)
    if len(text) > MAX_ID:
        return f"{text[:400]}…{hashlib.sha256(text.encode()).hexdigest()}"
    return text or '""'
