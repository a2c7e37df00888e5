"""The values that an event may carry: what JSON in Postgres can hold, and gives back unchanged."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator

from pgaudit.events.plain_values import plain_value, text_of_key

MAX_DEPTH = 32
RESERVED_KEYS = frozenset({"_sd", "..."})  # SD-JWT (RFC 9901) marks redacted values with them
MAX_DIGITS = 4_000  # Python refuses to print or parse more than 4,300
LARGEST_EXACT_FLOAT = 1e16  # from here on Postgres prints floats as integers


def checked_text(text: str) -> str:
    """Returns the text, if jsonb can hold it: no NUL, no lone surrogates."""
    if "\0" in text:
        raise ValueError("contains a NUL character, which Postgres cannot store")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains a lone surrogate, which is not Unicode text") from None
    return text


def checked_float(number: float) -> float | int:
    """Returns the number, if it is finite; a large one as the integer that Postgres will return."""
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a number that JSON can hold")
    return int(number) if abs(number) >= LARGEST_EXACT_FLOAT else float(number)


def checked_int(number: int) -> int:
    """Returns the number, if both Python and Postgres can print it."""
    if number.bit_length() > MAX_DIGITS * 10 // 3:  # a digit is a little less than that many bits
        raise ValueError(f"has more than {MAX_DIGITS:,} digits; store it as a string")
    return int(number)


def checked_time(moment: date | time) -> str:
    """Returns ISO 8601, if a date and time has a time zone. A time of day needs none: 09:30 is "09:30:00"."""
    if isinstance(moment, datetime) and moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; use an aware datetime, such as datetime.now(UTC)")
    return moment.isoformat()


def checked_object(value: Mapping[object, object], depth: int) -> dict[str, Any]:
    """Returns the mapping as a dict, its keys and values checked."""
    result: dict[str, Any] = {}
    for given, item in all_items(value):
        key = text_of_key(given)
        if key in RESERVED_KEYS:
            raise ValueError(f"key {key!r} is reserved; use another name")
        try:
            result[checked_text(key)] = checked_value(item, depth + 1)
        except ValueError as error:
            raise ValueError(f"{key!r}: {error}") from None
    return result


def all_items(value: Mapping[object, object]) -> Iterable[tuple[object, object]]:
    """Returns keys and values of a mapping; of one with several values of a key, such as a form, a list of them."""
    all_of = getattr(value, "getlist", None) or getattr(value, "getall", None)
    if all_of is None:
        return value.items()
    return [(key, found if len(found := list(all_of(key))) != 1 else found[0]) for key in dict.fromkeys(value)]


def checked_value(value: object, depth: int = 0) -> Any:  # noqa: C901, PLR0911 - a case for each type
    """Returns the value as JSON will return it. Raises ValueError, with its place, when it cannot be JSON."""
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested more than {MAX_DEPTH} deep")
    match value:
        case None | bool():
            return value
        case Enum():
            return checked_text(str(value.value))
        case str():
            return checked_text(str(value))
        case int():
            return checked_int(value)
        case float():
            return checked_float(value)
        case Mapping():
            return checked_object(cast("Mapping[object, object]", value), depth)
        case list() | tuple():
            return [checked_value(item, depth + 1) for item in cast("Sequence[object]", value)]
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"{value} is not a number that JSON can hold")
            return str(value)
        case date() | time():
            return checked_time(value)
        case _:
            return checked_value(plain_value(value), depth + 1)


def checked_data(value: object) -> Any:
    """Returns a checked JSON object."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a dict, not {type(value).__name__}")
    return checked_object(cast("Mapping[object, object]", value), 0)


Text = Annotated[str, AfterValidator(checked_text)]
JsonValue = Annotated[Any, BeforeValidator(checked_value)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(checked_data)]
