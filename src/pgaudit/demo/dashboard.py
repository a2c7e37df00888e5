"""The dashboard over what the demo has recorded, on this machine only, until Ctrl-C."""

import secrets
from threading import Event
from typing import Any, Final

from rich.console import Console

from pgaudit import web
from pgaudit.settings import Settings

HOST: Final = "127.0.0.1"


class DemoDashboard:
    """The dashboard of one demo, with a token that ends with it. The packages of the extra ``web`` are loaded at once.

    :raises MissingExtra: they are not installed.
    """

    def __init__(self) -> None:
        self._create_app: Any = web.create_app
        self._token = secrets.token_urlsafe(12)

    def serve(self, console: Console, dsn: str) -> None:
        """Serves it until Ctrl-C, and prints where it is."""
        from pgaudit.web.server import address_of, listening, serving  # noqa: PLC0415 - of the extra, as create_app is

        app = self._create_app(Settings.model_validate({"dsn": dsn, "admin_token": self._token}))
        with listening(HOST, 0) as listener, serving(app, listener):
            console.print("[bold]The dashboard[/] is up, with all that you have just seen:\n")
            console.print(f"  {address_of(HOST, listener.getsockname()[1])}/", soft_wrap=True)
            console.print(f"  Log in with the token [bold]{self._token}[/], which ends with the demo.", soft_wrap=True)
            console.print("  Ctrl-C ends both.\n")
            try:
                Event().wait()
            except KeyboardInterrupt:
                console.print("\n  The demo has ended.")
