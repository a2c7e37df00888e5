"""The forms of the page of a stream: each is an operation, after which the page says what was done."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pgaudit import streams
from pgaudit.web.access import Action
from pgaudit.web.dashboard.filters import segment
from pgaudit.web.dashboard.forms import Form
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.dashboard.stream_input import index_in, reason_in
from pgaudit.web.guard import WHOLE_TRAIL, Viewer
from pgaudit.web.stream_operations import Connection, StreamOperations

REASON_MISSING: Final = "Say why the event is discarded: the history and the log keep the reason."
RIGHTS: Final[Mapping[str, Action]] = {"retry": "retry"}  # of the others: admin


@dataclass(frozen=True, slots=True)
class Operation:
    """What a form asks for.

    :ivar done: the key of the sentence about it.
    :ivar run: does it to a stream of a name; what is false or 0 means that there was nothing to do.
    """

    done: str
    run: Callable[[Connection, str], object]


class StreamForms:
    """What the forms do."""

    def __init__(
        self,
        dashboard: Dashboard,
        operations: StreamOperations,
        tested: Callable[[Request, Viewer], Awaitable[Response]],
    ) -> None:
        self._dashboard = dashboard
        self._operations = operations
        self._tested = tested

    async def submit(self, request: Request) -> Response:
        """Does what a form asks for, and leads to the page of the stream.

        :raises StreamNotFound: there is none of that name.
        :raises InvalidStream: it cannot be done.
        :raises HTTPException: 403, the viewer may not; 404, there is no such operation; 422, the form is not complete.
        """
        name, wanted = request.path_params["name"], request.path_params["operation"]
        viewer, form = await self._dashboard.posted(request, RIGHTS.get(wanted, "admin"))
        if not viewer.sees_everything:
            raise HTTPException(HTTPStatus.FORBIDDEN, WHOLE_TRAIL)
        if wanted == "test":
            return await self._tested(request, viewer)
        operation = operation_of(wanted, form)
        result = await self._operations.run(request, viewer, lambda conn: operation.run(conn, name))
        done = operation.done if result is None or result else "nothing"
        return self._dashboard.redirect(request, f"/streams/{segment(name)}", done=done)


def operation_of(wanted: str, form: Form) -> Operation:  # noqa: PLR0911 - one for each operation
    """Returns what a form asks for.

    :raises HTTPException: 404, there is no such operation; 422, the form is not complete.
    """
    match wanted:
        case "pause":
            reason = reason_in(form) or None
            return Operation("paused", lambda conn, name: streams.pause(conn, name, reason))
        case "resume":
            return Operation("resumed", streams.resume)
        case "rewind":
            index = index_in(form, "index")
            return Operation("rewound", lambda conn, name: streams.rewind(conn, name, index))
        case "replay":
            first, last = index_in(form, "first"), index_in(form, "last")
            return Operation("replayed", lambda conn, name: streams.replay(conn, name, first, last))
        case "stop-replay":
            return Operation("stopped", streams.stop_replay)
        case "retry":
            index_or_all = index_in(form, "index") if form.text("index") else None
            return Operation("retried", lambda conn, name: streams.retry(conn, name, index_or_all))
        case "discard":
            return discarding(index_in(form, "index"), reason_in(form))
        case _:
            raise HTTPException(HTTPStatus.NOT_FOUND)


def discarding(index: int, reason: str) -> Operation:
    """Returns the operation of giving up a parked event.

    :raises HTTPException: 422, without a reason.
    """
    if not reason:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, REASON_MISSING)
    return Operation("discarded", lambda conn, name: streams.discard(conn, name, index, reason))
