"""Converts values of other libraries, and of types that JSON does not have, to values that JSON has."""

from collections.abc import Iterable, MutableSequence
from dataclasses import fields, is_dataclass
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, cast
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

TIMEDELTA = TypeAdapter(timedelta)  # ISO 8601, such as "P1DT30S"


def plain_value(value: object) -> object:  # noqa: PLR0911 - a case for each type
    """Returns the equivalent of a value in simpler types. Raises ValueError, with advice, if there is none."""
    match value:
        case UUID() | IPv4Address() | IPv6Address() | IPv4Network() | IPv6Network() | IPv4Interface() | IPv6Interface():
            return str(value)
        case timedelta():
            return TIMEDELTA.dump_python(value, mode="json")
        case BaseModel():
            return value.model_dump()
        case type():
            raise ValueError(f"{value.__name__} is a class; use an object of it, or its name")
        case _ if is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        case _ if hasattr(value, "dtype") and hasattr(value, "item"):
            return of_numpy(value)
        case _ if hasattr(value, "isempty") and hasattr(value, "lower_inc"):
            return of_range(value)
        case MutableSequence() if not isinstance(value, bytearray):
            return list(cast("MutableSequence[object]", value))
        case _ if type(value).__name__ == "__proxy__":  # a lazy string of Django
            return str(value)
        case _:
            raise ValueError(advice_for(value))


def of_numpy(value: Any) -> object:
    """Returns a numpy array as a list, and a numpy scalar as the Python object of the same value.

    :raises ValueError: Python has no object of the same value.
    """
    if getattr(value, "ndim", 0):
        return list(value)
    item = value.item()
    is_time = getattr(value.dtype, "kind", "") in {"M", "m"}
    if is_time and (item is None or isinstance(item, int)):  # NaT, nanoseconds, or a number of months
        raise ValueError(
            f"{value} of type {value.dtype} has no Python value; use an aware datetime or a timedelta, such as "
            "pandas.Timestamp(value, tz='UTC') or value.astype('m8[us]'), and None for NaT"
        )
    if type(item) is type(value):  # more digits than a float has
        raise ValueError(f"{value.dtype} has no JSON form; use float(value), or str(value) to keep all digits")
    return cast("object", item)


def of_range(value: Any) -> dict[str, object]:
    """Returns a range of psycopg or Django as a dict with the fields of SQLAlchemy's ``Range``."""
    bounds = f"{'[' if value.lower_inc else '('}{']' if value.upper_inc else ')'}"
    return {
        "lower": value.lower,
        "upper": value.upper,
        "bounds": "[)" if value.isempty else bounds,
        "empty": value.isempty,
    }


def advice_for(value: object) -> str:
    """Returns the message of the error: what to record instead of this value."""
    kind = type(value).__name__
    match value:
        case bytes() | bytearray() | memoryview():
            return "bytes have no JSON form; store a reference or a hash, or base64.b64encode(value).decode()"
        case set() | frozenset():
            return "a set has no JSON form, because it has no order; use sorted(value)"
        case Iterable():
            return f"{kind} has no JSON form; use list(value)"
        case _:
            return f"{kind} has no JSON form; convert it to a string or number first"


def text_of_key(key: object) -> str:
    """Returns a key as a string.

    :raises ValueError: the key is not a string. It is not converted, because 1 and "1" would become the same key.
    """
    if isinstance(key, Enum):
        if isinstance(key.value, str) and isinstance(key, str):
            return key.value
        raise ValueError(f"key {key!r} is an enum; JSON keys are strings: use key.value, or key.name")
    if isinstance(key, str):
        return str(key)
    if key is None:
        raise ValueError('key None is not a string; JSON keys are strings: use a name, such as "none"')
    raise ValueError(f"key {key!r} is a {type(key).__name__}; JSON keys are strings: use str(key)")
