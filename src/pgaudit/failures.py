"""Failed attempts at jobs, from wherever they come."""

import traceback
from dataclasses import dataclass
from typing import Self

import psycopg

from pgaudit.retries import is_infrastructure
from pgaudit.sqlstates import causes


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt at a job that had failed ``attempts`` times before."""

    job: int
    attempts: int
    error_class: str
    sqlstate: str | None
    message: str
    traceback: str | None
    infrastructure: bool = False

    @classmethod
    def from_exception(cls, job: int, attempts: int, error: Exception) -> Self:
        """One that was raised in the worker."""
        origin = next((cause for cause in causes(error) if isinstance(cause, psycopg.Error)), error)
        return cls(
            job=job,
            attempts=attempts,
            error_class=type(origin).__name__,
            sqlstate=getattr(origin, "sqlstate", None),
            message=str(origin),
            traceback="".join(traceback.format_exception(error)),
            infrastructure=is_infrastructure(error),
        )
