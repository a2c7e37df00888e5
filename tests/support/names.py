"""Names in tests: a resolver that answers as it is told."""

import socket
from typing import Any

import pytest


class Names:
    """The system's resolver, with answers of the test for one name: one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, *answers: list[str]) -> None:
        self.asked = 0
        system = socket.getaddrinfo

        def look_up(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
            if host != name:
                return system(host, port, *rest, **options)
            self.asked += 1
            found = answers[min(self.asked, len(answers)) - 1]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
