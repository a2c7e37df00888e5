"""The state of a worker, which its job manager, its task and its maintenance share."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import psycopg
from procrastinate import JobContext

from pgaudit.settings import Settings
from pgaudit.streams.throttle import Throttle
from pgaudit.worker.congestion import Congestion
from pgaudit.worker.connector import AuditConnector


@dataclass(frozen=True, slots=True)
class Registration:
    """A worker as the database knows it: a number for people, and a token that only the worker knows."""

    id: int
    token: UUID = field(repr=False)


@dataclass(slots=True)
class WorkerState:
    """What one worker process is doing."""

    congestion: Congestion
    """How large its batches are, and whether it pauses."""
    throttle: Throttle = field(default_factory=Throttle)
    """Pauses its streams and processors while the queue has a backlog."""
    registration: Registration | None = None
    """None before the worker is registered and after it has ended."""
    jobs: set[int] = field(default_factory=set)
    """Ids of the jobs that it has fetched and not finished."""
    stopping: bool = False
    """Whether it was told to stop: what runs ends as soon as it can."""

    @property
    def token(self) -> UUID | None:
        """The token of the registration; None without one: then no job is this worker's."""
        return None if self.registration is None else self.registration.token

    def is_oldest(self, job: int) -> bool:
        """Returns whether no other job of this worker was fetched earlier."""
        return job <= min(self.jobs, default=job)


def connector_of(context: JobContext) -> AuditConnector:
    """Returns the connector of the worker that runs the job."""
    return cast("AuditConnector", context.app.connector)


def connection_of(context: JobContext) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
    """Returns a connection of the worker that runs the job."""
    return connector_of(context).pool.connection()


def settings_of(context: JobContext) -> Settings:
    """Returns the settings of the worker that runs the job."""
    return cast("Settings", context.additional_context["settings"])


def state_of(context: JobContext) -> WorkerState:
    """Returns the state of the worker that runs the job."""
    return cast("WorkerState", context.additional_context["state"])


def registration_of(context: JobContext) -> Registration | None:
    """Returns the registration of the worker that runs the job."""
    return state_of(context).registration
