"""Datadog's intake of logs, ``POST /api/v2/logs``, with the limits that its documentation has."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.receivers import Reply, Request


def errors(status: int, text: str) -> Reply:
    """Returns an answer with an error."""
    return Reply(status, json.dumps({"errors": [{"status": str(status), "title": text}]}).encode())


@dataclass
class Intake:
    """An intake with one key.

    :ivar logs: what can be searched: what is too old is not there, and what is too long was cut off.
    """

    key: str = "0123456789abcdef0123456789abcdef"
    replies: list[Reply] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    truncated: int = 0
    dropped: int = 0

    @property
    def indexes(self) -> list[int]:
        """The indexes of the events that can be searched. Datadog parses a message that is JSON."""
        return [json.loads(log["message"])["index"] for log in self.logs]

    def answer(self, request: Request) -> Reply:
        """Answers as documented."""
        self.requests.append(request)
        if "dd-api-key" not in request.headers:
            return errors(401, "Unauthorized")
        if request.headers["dd-api-key"] != self.key:
            return errors(403, "Forbidden")
        if self.replies:
            return self.replies.pop(0)
        if request.path != "/api/v2/logs":
            return errors(404, "Not found")
        if len(request.body) > 5_000_000:
            return errors(413, "Payload too large")
        return self.take(request.json)

    def take(self, logs: list[dict[str, Any]]) -> Reply:
        """Accepts logs, which does not mean that each of them is kept whole, or at all."""
        if len(logs) > 1_000:
            return errors(400, "Too many logs")
        oldest = (datetime.now(UTC) - timedelta(hours=18)).timestamp() * 1_000
        for log in logs:
            if log["timestamp"] < oldest:
                self.dropped += 1
            elif len(json.dumps(log, ensure_ascii=False).encode()) > 1_000_000:
                self.truncated += 1
            else:
                self.logs.append(log)
        return Reply(202, b"{}")
