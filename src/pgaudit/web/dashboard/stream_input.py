"""What addresses and forms of the stream pages ask for."""

from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException

from pgaudit.trail.spans import ALL
from pgaudit.web.dashboard.forms import Form

LONGEST_REASON: Final = 900
# What the page says after a form was sent.
DONE: Final = {
    "paused": "The stream is paused. Nothing is lost: it continues where it stopped.",
    "resumed": "The stream is resumed. A worker tries to send at once.",
    "rewound": "The stream continues with that event.",
    "replayed": "The stream goes through the range again, while there is nothing newer to send.",
    "stopped": "The replay is stopped.",
    "retried": "Parked events are sent again. Those that were refused come back here if they are refused again.",
    "discarded": "The event is discarded. Events that waited for it are sent.",
    "nothing": "There was nothing to do: someone else has already done it.",
}


def index_in(form: Form, name: str) -> int:
    """Returns the index of a form.

    :raises HTTPException: 422, it is none.
    """
    text = form.text(name)
    if text.isascii() and text.isdigit() and len(text) < len(str(ALL.stop)):
        return int(text)
    raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "An index is a whole number from 0 on.")


def reason_in(form: Form) -> str:
    """Returns the reason of a form; Postgres knows no NUL."""
    return form.text("reason").replace("\0", "")[:LONGEST_REASON]


def after_of(text: str | None) -> int:
    """Returns the index behind which a page of parked events begins.

    :raises HTTPException: 422, it is none.
    """
    if not text:
        return -1
    if text.isascii() and text.isdigit() and len(text) < len(str(ALL.stop)):
        return int(text)
    raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "This is not a page of the list: begin at its first page.")
