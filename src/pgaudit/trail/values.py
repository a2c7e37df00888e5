"""What the values of a search may be. What passes these checks, Postgres accepts, too."""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

OUTCOMES: Final = ("success", "failure", "denied")
TYPE_AND_ID: Final = re.compile(r"[^:]+:.+", re.DOTALL)
ACTION: Final = re.compile(r"[a-z0-9_.]+(\.\*)?|\*")
UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
MOST_DEPTH: Final = 100  # an event has 32 at most, unless the owner of the log inserts it
MOST_DIGITS: Final = 16_000  # on either side of the decimal point: what numeric has in Postgres


def check_text(value: str) -> None:
    """Raises ValueError for an empty value, or one that no event can have."""
    if not value:
        raise ValueError("the value is empty")
    check_characters(value)


def check_characters(text: str) -> None:
    """Raises ValueError for characters that no event can have."""
    if found := UNSTORABLE.search(text):
        raise ValueError(f"no event can have the character U+{ord(found.group()):04X}")


def check_action(value: str) -> None:
    """Raises ValueError unless it is an action, or the beginning of one and ``.*``."""
    if not ACTION.fullmatch(value):
        raise ValueError(f"{value!r} is not an action: write claim.approved, or claim.* for all that begin so")


def check_type_and_id(value: str) -> None:
    """Raises ValueError unless it is ``type:id``."""
    check_text(value)
    if not TYPE_AND_ID.fullmatch(value):
        raise ValueError(f"{value!r} is not of the form type:id, such as claim:7 or user:*")


def check_outcome(value: str) -> None:
    """Raises ValueError unless it is an outcome."""
    if value not in OUTCOMES:
        raise ValueError(f"{value!r} is not an outcome: write success, failure or denied")


def check_uuid(value: str) -> None:
    """Raises ValueError unless it is a UUID in its usual form; other forms are read differently by Postgres."""
    if not UUID.fullmatch(value):
        raise ValueError(f"{value!r} is not the id of an event, a UUID such as 01890000-0000-7000-8000-000000000000")


def check_data(value: str) -> None:
    """Raises ValueError unless it is a JSON object."""
    if not isinstance(parsed_json(value), dict):
        example = '{"amount": "1000.00"}'
        raise ValueError(f"write a JSON object, such as {example}, or one value: data.amount:1000.00")  # noqa: TRY004 - a fault of the text


def check_changes(value: str) -> None:
    """Raises ValueError for JSON that no change can contain; anything else is the path of a change."""
    check_text(value)
    if value[0] in "{[" and not isinstance(parsed_json(value), dict):
        raise ValueError('write a path such as status, or a JSON object such as {"path": "status", "after": "open"}')


def parsed_json(value: str) -> Any:
    """Returns the value of JSON that Postgres can hold; its numbers as Decimals.

    :raises ValueError: it is not JSON, or no jsonb.
    """
    try:
        found = json.loads(value, parse_int=number, parse_float=number, parse_constant=refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is not JSON: {reason_of(error)}") from None
    except RecursionError:
        raise ValueError("this JSON is nested too deeply") from None
    check_parts(found)
    return found


def reason_of(error: json.JSONDecodeError) -> str:
    """Returns what is wrong with JSON, as the end of a sentence."""
    return error.msg[:1].lower() + error.msg[1:]


def number(text: str) -> Decimal:
    """Returns a number that Postgres can hold.

    :raises ValueError: it has too many digits.
    """
    _, _, exponent = text.lower().partition("e")
    if len(text) > MOST_DIGITS or abs(int(exponent[:10] or 0)) > MOST_DIGITS:
        raise ValueError(f"{text[:20]} has more digits than a number of an event")
    return Decimal(text)


def refuse_constant(name: str) -> object:
    """Raises ValueError: JSON has neither NaN nor Infinity."""
    raise ValueError(f"{name} is not JSON")


def check_parts(document: Any) -> None:
    """Raises ValueError for JSON that is nested too deeply, or has characters that no event can have."""
    level = [document]
    for _ in range(MOST_DEPTH):
        for item in level:
            if isinstance(item, str):
                check_characters(item)
        level = [part for item in level for part in parts_of(item)]
        if not level:
            return
    raise ValueError("this JSON is nested too deeply")


def parts_of(item: Any) -> Sequence[Any]:
    """Returns the keys and values of an object, or the items of an array."""
    if isinstance(item, dict):
        return [*item, *item.values()]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON
    return item if isinstance(item, list) else []  # pyright: ignore[reportUnknownVariableType] - JSON


def is_json(value: str) -> bool:
    """Returns whether the value is a JSON object or array from its first to its last character: it needs no quotes."""
    if value[:1] not in ("{", "["):
        return False
    try:
        return json.JSONDecoder().raw_decode(value)[1] == len(value)
    except (ValueError, RecursionError):
        return False
