"""Records who has read the trail: every export, and looks at events if PGAUDIT_RECORD_READS says so; and who acts."""

from dataclasses import dataclass
from typing import Any, Final, Self

import psycopg
from starlette.requests import HTTPConnection

from pgaudit.access_log import VIEWED, record_access
from pgaudit.errors import InvalidEvent
from pgaudit.events import Actor, AuditContext, AuditEvent
from pgaudit.middleware.request import HEADERS, context_of, printable
from pgaudit.recording.context import fields_of
from pgaudit.recording.identification import identify
from pgaudit.settings import Settings
from pgaudit.web.guard import Viewer

LONGEST_ID: Final = 500


@dataclass(frozen=True, slots=True)
class Reader:
    """The user and the client of a request, as recorded in the events about what they read or do."""

    actor: Actor
    context: AuditContext
    records_reads: bool

    @classmethod
    def of(cls, request: HTTPConnection, viewer: Viewer, settings: Settings) -> Self:
        """Returns the reader of a request."""
        headers = {name: ",".join(request.headers.getlist(name)) for name in HEADERS}
        peer = request.client.host if request.client else None
        identity, name = (printable(text)[:LONGEST_ID] or "unknown" for text in (viewer.id, viewer.name))
        context = AuditContext(**context_of(peer, headers, settings))
        actor = Actor(type="user", id=identity, name=None if name == identity else name)
        return cls(actor, context, settings.record_reads)

    def viewed(self, conn: psycopg.Connection[Any], target: str | None = None, **data: object) -> None:
        """Records that events were read, if the settings ask for it. If that fails, they are not shown.

        :param target: the thing whose events were read.
        :param data: what was read. Texts are as long as a search may be, whatever was sent.
        """
        if self.records_reads:
            record_access(conn, self.about(event_of(target, data)))

    def acts(self, conn: psycopg.Connection[Any]) -> None:
        """Names the user to the events that the database records of what they do in this transaction."""
        identify(conn, actor=self.actor, **fields_of(self.context))

    def about(self, event: AuditEvent) -> AuditEvent:
        """Returns an event about reading, with who reads and from where."""
        return event.model_copy(update={"actor": self.actor, "context": self.context})


def event_of(target: str | None, data: dict[str, object]) -> AuditEvent:
    """Returns the event of a look; a thing that no event can be about, as addresses may name one, is told in data."""
    try:
        return AuditEvent(action=VIEWED, targets=[target] if target else [], data=data)
    except InvalidEvent:
        return AuditEvent(action=VIEWED, data={**data, "target": printable(target or "")[:LONGEST_ID]})
