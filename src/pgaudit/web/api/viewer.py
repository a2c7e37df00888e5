"""The user of a request, for whom the guard of its route has decided."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from pgaudit.web.guard import Viewer


async def viewer_of(request: Request) -> Viewer:
    """Returns the user that ``RequireAccess`` has let in; without that dependency the route fails."""
    viewer: Viewer = request.state.viewer
    return viewer


CurrentViewer = Annotated[Viewer, Depends(viewer_of)]
