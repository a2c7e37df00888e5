"""The state of a worker, which its job manager, its task and its maintenance share."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import psycopg
from procrastinate import JobContext, PsycopgConnector

from pgaudit.settings import Settings


@dataclass(frozen=True, slots=True)
class Registration:
    """A worker as the database knows it: a number for people, and a token that only the worker knows."""

    id: int
    token: UUID = field(repr=False)


@dataclass(slots=True)
class WorkerState:
    """What one worker process is doing."""

    registration: Registration | None = None
    """None before the worker is registered and after it has ended."""
    jobs: set[int] = field(default_factory=set)
    """Ids of the jobs that it has fetched and not finished."""
    paused_until: float = 0.0
    """By the monotonic clock. Set after an infrastructure error, because the next job would meet the same error."""
    stopping: bool = False
    """Whether it was told to stop: what runs ends as soon as it can."""

    def is_oldest(self, job: int) -> bool:
        """Returns whether no other job of this worker was fetched earlier."""
        return job <= min(self.jobs, default=job)


def connection_of(context: JobContext) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
    """Returns a connection of the worker that runs the job."""
    return cast("PsycopgConnector", context.app.connector).pool.connection()


def settings_of(context: JobContext) -> Settings:
    """Returns the settings of the worker that runs the job."""
    return cast("Settings", context.additional_context["settings"])


def state_of(context: JobContext) -> WorkerState:
    """Returns the state of the worker that runs the job."""
    return cast("WorkerState", context.additional_context["state"])


def registration_of(context: JobContext) -> Registration | None:
    """Returns the registration of the worker that runs the job."""
    return state_of(context).registration
