"""Routes about the integrity of the log: how far it is signed and verified, and the proof for one event."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pgaudit.settings import Settings
from pgaudit.stats import AnchorStats, SealingStats
from pgaudit.web import integrity, proofs, views
from pgaudit.web.api.parameters import NOT_A_KEY, EventId
from pgaudit.web.api.viewer import CurrentViewer
from pgaudit.web.integrity import NewestCheckpoint
from pgaudit.web.lookups import Lookups
from pgaudit.web.reads import Reader
from pgaudit.web.views import Connection


@dataclass(frozen=True, slots=True)
class IntegrityBody:
    """What the database says of its log. `pgaudit verify` with the public key does not trust it."""

    observed_at: datetime
    level: str | None
    """`hashed`, `sealed`, `signed`, `anchored` or `witnessed`: what the last verification of the whole log has reached.
    Null before the first, and while findings stand."""
    level_means: str | None
    """What that level detects, and what it does not."""
    sealing: SealingStats
    """A row of the view `pgaudit.sealing_stats`."""
    checkpoint: NewestCheckpoint | None
    """The newest one; its signatures were not checked."""
    anchors: list[AnchorStats]


class IntegrityRoutes:
    """The routes about the integrity of the log."""

    def __init__(self, lookups: Lookups, settings: Settings) -> None:
        self._lookups = lookups
        self._settings = settings
        self._integrity = lookups.share(integrity.look)

    async def integrity(self) -> IntegrityBody:
        """Returns how far the log is signed, verified and anchored, at most a second old."""
        seen = await self._integrity.result()
        level = seen.level
        name, sentence = (None, None) if level is None else (level.name.lower(), level.sentence)
        return IntegrityBody(seen.observed_at, name, sentence, seen.sealing, seen.checkpoint, seen.anchors)

    async def proof(self, request: Request, viewer: CurrentViewer, key: EventId) -> Response:
        """Returns the proof that an event is in the newest checkpoint, in the form of C2SP `tlog-proof`."""
        reader = Reader.of(request, viewer, self._settings)
        wanted = views.key_of(key)
        if wanted is None:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, NOT_A_KEY)

        def look(conn: Connection) -> tuple[int, str]:
            entry, proof = proofs.prove(conn, viewer, wanted)
            reader.viewed(conn, event=str(entry.event_id), proof=True)
            return entry.index, proof

        return proofs.file_of(*await self._lookups.run(look))
