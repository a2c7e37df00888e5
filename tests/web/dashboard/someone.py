"""A user whose rights a test chooses, and queues to show to them."""

import json
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from pgaudit.web.access import EVERYTHING, Action, Scope
from tests.support.jobs import insert_poison
from tests.support.queries import Connection

EVIL = "<img src=x onerror=alert(1)>'\"&"
NOTE = """
    INSERT INTO pgaudit.job_error (job_id, task_name, attempt, error_class, sqlstate, message, traceback)
    VALUES (%s, 'pgaudit.persist', %s, %s, '23514', %s, %s)
"""
FAIL = "UPDATE pgaudit.audit_jobs SET status = 'failed', attempts = 3 WHERE id = ANY (%s)"


@dataclass
class Someone:
    """The access of an application that knows one user."""

    may: frozenset[Action] = frozenset({"read", "retry"})
    sees: Scope = EVERYTHING
    masked: frozenset[str] = field(default_factory=frozenset)

    def user(self, request: HTTPConnection) -> object:
        """Returns the user."""
        assert request
        return "Ada"

    def allows(self, user: object, action: Action) -> bool:
        """Returns whether the user has the right."""
        assert user
        return action in self.may

    def scope(self, user: object) -> Scope:
        """Returns what the user sees."""
        assert user
        return self.sees

    def mask(self, user: object, path: str, value: object) -> object:
        """Returns the value, or a mask."""
        assert user
        return "masked" if path in self.masked else value


def failed_job(conn: Connection, error: str = "CheckViolation", message: str = "no such row", **event: object) -> int:
    """Adds a job that has failed with that error, and commits; returns its number."""
    job = insert_poison(conn, json.dumps(event))
    conn.execute(NOTE, [job, 3, error, message, f"traceback of {message}"])
    conn.execute(FAIL, [[job]])
    conn.commit()
    return job
