"""The fields that a search knows, and what each accepts."""

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from pgaudit.errors import InvalidQuery
from pgaudit.indexes.expressions import CONTEXT
from pgaudit.trail.values import (
    MOST_DEPTH,
    UNSTORABLE,
    check_action,
    check_changes,
    check_data,
    check_outcome,
    check_text,
    check_type_and_id,
    check_uuid,
)

# What each field means, for --help, the documentation and the dashboard.
FIELDS: Final[Mapping[str, str]] = {
    "id": "the id of the event",
    "action": "what was done: `claim.approved`, or `claim.*` for all actions that begin so",
    "actor": "who did it: `user:42`, or `user:*` for any actor of that type",
    "target": "what it was done to, as any of the event's targets: `claim:7`, or `claim:*`",
    "tenant": "whose data it is",
    "outcome": "`success`, `failure` or `denied`",
    "request": "the id of the request",
    "correlation": "what events of several requests have in common",
    "trace": "the trace of W3C or OpenTelemetry",
    "session": "the user's session",
    "ip": "the client's address",
    "changes": 'a field that was changed, `status`, or what a change contains: `{"path": "status", "after": "open"}`',
    "data": 'what `data` contains, as JSON: `{"amount": "1000.00"}`; or one value: `data.amount:1000.00`',
    "after": "recorded then or later: `2026-03-01`, `2026-03-01T12:00Z`, or an age: `90s`, `15m`, `3h`, `7d`, `2w`",
    "before": "recorded before then",
    "occurred_after": "occurred then or later, by the application's clock",
    "occurred_before": "occurred before then",
}
TIMES: Final = frozenset({"after", "before", "occurred_after", "occurred_before"})
SYNONYMS: Final = {"since": "after", "from": "after", "until": "before", "to": "before"}
NAME: Final = re.compile(r"[A-Za-z_]+(\.[^\s:\",]+)?")
MOST_VALUES: Final = 100

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
AGE: Final = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)  # what Postgres and every time zone can have


def is_known(field: str) -> bool:
    """Returns whether a search knows the field."""
    return field in FIELDS or bool(data_path(field))


def takes_json(field: str) -> bool:
    """Returns whether a value of the field may be JSON."""
    return field in ("data", "changes")


def data_path(field: str) -> tuple[str, ...]:
    """Returns the keys of ``data.a.b``; none for any other field.

    >>> data_path("data.claim.amount")
    ('claim', 'amount')
    """
    keys = tuple(field.split(".")[1:]) if field.startswith("data.") and NAME.fullmatch(field) else ()
    return keys if all(keys) else ()


def path_of(field: str) -> list[str]:
    """Returns the path in the event of a field of its context or data; an empty one for any other field.

    >>> path_of("request"), path_of("data.claim.amount")
    (['context', 'request_id'], ['data', 'claim', 'amount'])
    """
    if field in CONTEXT:
        return ["context", CONTEXT[field]]
    return ["data", *keys] if (keys := data_path(field)) else []


def check_field(field: str, value: str) -> None:
    """Checks the name of a field.

    :raises InvalidQuery: a search does not know it; the message says what to write instead, with the value if it helps.
    """
    if not is_known(field):
        raise InvalidQuery(f"there is no field {field}; {remedy(field, value)}")
    if UNSTORABLE.search(field):
        raise InvalidQuery("no event can have this key")
    if len(data_path(field)) > MOST_DEPTH:
        raise InvalidQuery(f"no event is nested so deeply: data.PATH has at most {MOST_DEPTH} keys")


def remedy(field: str, value: str) -> str:
    """Returns what to write instead of a field that a search does not know."""
    if field.startswith("data."):
        return 'a key of data.PATH has neither blanks, colons, commas nor quotes: write data:{"my key": "value"}'
    close = SYNONYMS.get(field.lower()) or next(iter(difflib.get_close_matches(field.lower(), FIELDS, 1)), None)
    reference = f"{field}:{value or 7}"
    if close in TIMES:
        return f"did you mean {close}?"
    if close:
        return f"did you mean {close}, or target:{reference}?"
    return (
        f"for a thing or a person write target:{reference} or actor:{reference}. Fields: {', '.join(FIELDS)}, data.PATH"
    )


def check_value(field: str, value: str) -> None:
    """Checks one value of a field.

    :raises InvalidQuery: the field does not take it.
    """
    try:
        CHECKS.get(field, check_text)(value)
    except ValueError as error:
        raise InvalidQuery(f"{field}: {error}") from None


def check_number(field: str, number: int, *, negated: bool) -> None:
    """Checks how many values a term has.

    :raises InvalidQuery: the field does not take so many, or no minus.
    """
    if number > MOST_VALUES:
        raise InvalidQuery(f"{field} takes at most {MOST_VALUES} alternatives")
    if field in TIMES and (negated or number != 1):
        raise InvalidQuery(f"{field} takes one time, and no minus: after and before are each other's opposite")


def moment(value: str) -> datetime:
    """Returns a time: ISO 8601, in UTC unless it names another offset, or an age such as "7d".

    :raises ValueError: it is neither.
    """
    if age := AGE.fullmatch(value):
        try:
            return max(datetime.now(UTC) - timedelta(**{UNITS[age[2]]: int(age[1])}), EARLIEST)
        except OverflowError:
            return EARLIEST
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{value!r} is not a time: write it as 2026-03-01 or 2026-03-01T12:00Z, or as an age: 90s, 15m, 3h, 7d, 2w"
        ) from None


CHECKS: Final[Mapping[str, Callable[[str], object]]] = {
    "id": check_uuid,
    "action": check_action,
    "actor": check_type_and_id,
    "target": check_type_and_id,
    "outcome": check_outcome,
    "data": check_data,
    "changes": check_changes,
} | dict.fromkeys(TIMES, moment)
