"""How an attempt ended: the job is done, the event was discarded, or the attempt has failed."""

import traceback
from dataclasses import dataclass
from typing import Self

from pgaudit.processors.exceptions import Retry


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The job is done."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """The processor has discarded the event."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt has failed.

    :ivar counted: whether the processor counts as failing.
    :ivar retry_in: seconds until the next attempt; None after the last one.
    """

    counted: bool
    retry_in: float | None
    error_class: str
    sqlstate: str | None
    message: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException, retry_in: float | None) -> Self:
        """Returns the failure that an exception of the function stands for."""
        return cls(
            counted=not isinstance(error, Retry),
            retry_in=retry_in,
            error_class="Retry" if isinstance(error, Retry) else type(error).__name__,
            sqlstate=state if isinstance(state := getattr(error, "sqlstate", None), str) else None,
            message=storable(text_of(error)),
            traceback=storable("".join(traceback.format_exception(error))),
        )


Outcome = Succeeded | Discarded | Failed


def text_of(error: BaseException) -> str:
    """Returns the message of an exception; its class if it has none."""
    try:
        return str(error) or repr(error)
    except Exception:  # noqa: BLE001 - it is the application's
        return type(error).__name__


def storable(text: str) -> str:
    """Returns a text that Postgres can store: without NUL and halves of characters, which may come from an event."""
    return text.replace("\0", "").encode(errors="replace").decode()
