"""What Splunk's HTTP Event Collector answers, by the codes in its responses."""

import json
from http import HTTPStatus
from typing import Any, Final, cast

from pgaudit.streams.destinations.http_response import Response
from pgaudit.streams.outcomes import DestinationRefused, EventsRefused

# Codes of HEC's answers, which are more exact than the status.
TOKEN: Final = frozenset({1, 2, 3, 4, 14, 16, 21, 22})
INDEX: Final = 7
BAD_EVENT: Final = frozenset({6, 12, 13, 15})


class BadEvent(EventsRefused):
    """The collector has refused all events of a request because of one of them.

    :ivar number: the position of that event; whether it counts from 0 or 1 depends on the kind of error.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


def require_accepted(answer: Response) -> dict[str, Any]:
    """Returns the JSON object of the response, if the collector has accepted the request.

    :raises DestinationRefused: it does not accept the token, or not for that index.
    :raises EventsRefused: it will never accept these events.
    :raises DeliveryFailed: it does not accept them now.
    """
    said = parse_object(answer.body)
    code = said.get("code")
    if answer.status == HTTPStatus.OK and (code == 0 or "acks" in said):
        return said
    if code in TOKEN or code == INDEX:
        raise DestinationRefused(str(answer))
    number = said.get("invalid-event-number")
    if code in BAD_EVENT and isinstance(number, int):
        raise BadEvent(str(answer), number)
    answer.require_success()
    raise answer.failure()


def parse_object(body: bytes) -> dict[str, Any]:
    """Returns the object of a JSON text; an empty one if it is none."""
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}
