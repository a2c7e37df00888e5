"""Style sheet, scripts and icon, at addresses that contain a hash of their content."""

from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MEDIA_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
FOREVER: Final = "public, max-age=31536000, immutable"


class Assets:
    """The files of a directory of the package, read once: no request reaches the file system."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents
        self._paths = {name: f"/static/{digest(content)}/{name}" for name, content in contents.items()}

    def path(self, name: str) -> str:
        """Returns the path of a file below the mount.

        :raises KeyError: there is no such file.
        """
        return self._paths[name]

    def content(self, name: str) -> bytes:
        """Returns the content of a file.

        :raises KeyError: there is no such file.
        """
        return self._contents[name]

    async def serve(self, request: Request) -> Response:
        """Returns a file that any cache may keep for good.

        :raises HTTPException: 404, there is no such file, or not with this content.
        """
        name = request.path_params["name"]
        if self._paths.get(name) != f"/static/{request.path_params['hash']}/{name}":
            raise HTTPException(HTTPStatus.NOT_FOUND)
        media_type = MEDIA_TYPES[name.rpartition(".")[2]]
        return Response(self.content(name), headers={"Cache-Control": FOREVER}, media_type=media_type)

    def routes(self) -> list[Route]:
        """Returns the route of the files."""
        return [Route("/static/{hash}/{name}", self.serve)]


def digest(content: bytes) -> str:
    """Returns the part of an address that changes with the content."""
    return sha256(content).hexdigest()[:16]


def packaged() -> Assets:
    """Returns the files that belong to the dashboard, wherever the package is installed, and through symbolic links."""
    directory = files("pgaudit.web.dashboard") / "static"
    return Assets({one.name: one.read_bytes() for one in directory.iterdir() if one.is_file()})


ASSETS: Final = packaged()
