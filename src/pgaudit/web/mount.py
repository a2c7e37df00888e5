"""Where the application is mounted, as a browser sees it."""

from urllib.parse import quote

from starlette.types import Scope


def root_of(scope: Scope) -> str:
    """Returns the path of the mount, as addresses have it: empty, or with a slash before it and none behind it."""
    root = quote(scope.get("root_path", "").strip("/"), safe="/:@!$&'()*+,;=~")
    return f"/{root}" if root else ""
