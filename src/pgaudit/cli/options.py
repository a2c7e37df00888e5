"""Values of options: times, and names of targets and actors."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
AGE: Final = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)  # what Postgres and every time zone can have


def moment(text: str) -> datetime:
    """Returns a time: ISO 8601, in UTC unless it names another offset, or an age such as "7d".

    :raises typer.BadParameter: it is neither.
    """
    try:
        if age := AGE.fullmatch(text):
            return max(datetime.now(UTC) - timedelta(**{UNITS[age[2]]: int(age[1])}), EARLIEST)
        time = datetime.fromisoformat(text)
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        return EARLIEST
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a time: write it as 2026-03-01 or 2026-03-01T12:00Z, or as an age: 90s, 15m, 3h, 7d, 2w"
        ) from None


def type_and_id(text: str) -> tuple[str, str]:
    """Returns the parts of "type:id".

    :raises typer.BadParameter: it has another form.
    """
    kind, _, identity = text.partition(":")
    if not (kind and identity):
        raise typer.BadParameter(f'{text!r} is not of the form "type:id", such as "claim:7"')
    return kind, identity
