"""``pgaudit serve``: the HTTP routes as a program of their own."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(serve)


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 for any that is free.")] = 8_000,
) -> None:
    """Serve the dashboard, health, admin routes and metrics over HTTP until SIGTERM or SIGINT."""
    from pgaudit import web  # noqa: PLC0415 - its packages are an extra

    web.serve(host=host, port=port)
