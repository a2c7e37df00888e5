"""JSON with the digits that are stored: 1.10 stays 1.10, and an integer keeps all its digits."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, cast

Json = dict[str, Any] | list[Any] | str | float | Decimal | None
LONGEST_INT: Final = 4_300  # digits: the most that Python parses by default
INDENT: Final = "  "


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text; numbers with a point are Decimals.

    >>> to_json(parse_json('{"price": 1.10, "id": 12345678901234567890}'))
    '{"price": 1.10, "id": 12345678901234567890}'
    """
    return json.loads(text, parse_float=Decimal, parse_int=parse_int)


def parse_int(digits: str) -> int | Decimal:
    """Returns an integer; one that is longer than Python parses as a Decimal."""
    return int(digits) if len(digits) < LONGEST_INT else Decimal(digits)


def to_json(value: object, default: Callable[[object], str] = str) -> str:
    """Returns a value as JSON on one line.

    :param default: returns the text of a value that JSON has no form for, such as the datetime of a mask.
    """
    if isinstance(value, dict):
        fields = cast("dict[object, object]", value).items()
        return "{" + ", ".join(f"{to_json(str(name))}: {to_json(inner, default)}" for name, inner in fields) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(to_json(item, default) for item in cast("list[object]", value)) + "]"
    return scalar_to_json(value, default)


def to_indented_json(value: object, indent: str = "") -> str:
    """Returns a value as JSON for people to read, with a line for each member."""
    deeper = indent + INDENT
    if isinstance(value, dict) and value:
        fields = cast("dict[object, object]", value).items()
        lines = [f"{deeper}{to_json(str(name))}: {to_indented_json(member, deeper)}" for name, member in fields]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        items = [deeper + to_indented_json(item, deeper) for item in cast("list[object]", value)]
        return "[\n" + ",\n".join(items) + f"\n{indent}]"
    return to_json(value)  # pyright: ignore[reportUnknownArgumentType] - JSON


def scalar_to_json(value: object, default: Callable[[object], str] = str) -> str:
    """Returns a value that is neither an object nor a list as JSON."""
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}"
    if value is None or isinstance(value, str | bool | int):
        return json.dumps(value, ensure_ascii=False)
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(default(value), ensure_ascii=False)
