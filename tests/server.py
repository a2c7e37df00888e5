"""The disposable Postgres that ``pgaudit.testing`` ships, for our own tests."""

from pgaudit.testing.server import BINARIES, VERSION, Server

__all__ = ["BINARIES", "VERSION", "Server"]
