"""Retries failed jobs: one, some, or all that match, after a page of confirmation."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import psycopg
from psycopg.errors import InsufficientPrivilege
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pgaudit.jobs import pages as job_pages
from pgaudit.jobs.pages import BATCH, Filter, Place, Retried
from pgaudit.web.dashboard.forms import Form
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.dashboard.job_requests import Asked, numbers, place_of, place_text
from pgaudit.web.dashboard.job_views import scope_of

# Batches of one request, each a transaction; then the next page says how many have been retried, and offers to go on.
MOST_BATCHES: Final = 10
NOTHING_CHOSEN: Final = "No job is selected: go back, and select those that are to run again."
ONLY_FAILED: Final = "Only failed jobs can be retried: the others run again by themselves."


class Retries:
    """The confirmation of a retry, and the retry."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    async def confirm(self, request: Request) -> Response:
        """Returns the page that asks whether to retry.

        :raises HTTPException: 403, the viewer may not; 422, nothing that can be retried is chosen.
        """
        viewer = await self._dashboard.viewer(request, "retry")
        given = request.query_params
        asked, chosen = Asked.of(given), numbers(given.getlist("job"))
        is_all = given.get("all") == "on"
        refuse_unless_sensible(asked, chosen, is_all=is_all)
        wanted = asked.seen_by(viewer)
        count = None
        if is_all:
            count = await self._dashboard.lookups.run(lambda conn: job_pages.count(conn, "failed", wanted))
        return self._dashboard.render(
            request, "retry.html", viewer, asked=asked, chosen=chosen, count=count, most=MOST_BATCHES * BATCH
        )

    async def retry(self, request: Request) -> Response:
        """Retries jobs, and leads to the list, which says how many.

        :raises HTTPException: 403, the viewer may not; 422, nothing that can be retried is chosen; 503, the database
            role may not.
        """
        viewer, form = await self._dashboard.posted(request, "retry")
        asked, chosen = asked_in(form), numbers(form.texts("job"))
        is_all = form.text("all") == "on"
        refuse_unless_sensible(asked, chosen, is_all=is_all)
        wanted = asked.seen_by(viewer)
        if is_all:
            retried, rest = await self._retry_all(wanted, place_of(form.text("after")))
        else:
            scope = scope_of(viewer)
            retried = len(await self._dashboard.lookups.run(lambda conn: retry_named(conn, chosen, scope)))
            rest = None
        return self._dashboard.redirect(
            request,
            "/jobs",
            **asked.query(),
            retried=retried,
            chosen=None if is_all else len(chosen),
            rest=place_text(rest),
        )

    async def _retry_all(self, wanted: Filter, after: Place) -> tuple[int, Place | None]:
        """Retries some batches; returns how many jobs, and where to go on."""
        retried, place = 0, after
        for _ in range(MOST_BATCHES):
            done = await self._dashboard.lookups.run(partial(retry_batch, wanted=wanted, after=place))
            retried += len(done.job_ids)
            if done.next is None:
                return retried, None
            place = done.next
        return retried, place


def asked_in(form: Form) -> Asked:
    """Returns the list that a form is about."""
    return Asked.of(QueryParams({name: form.text(name) for name in ("state", "action", "error")}))


def refuse_unless_sensible(asked: Asked, chosen: list[int], *, is_all: bool) -> None:
    """Refuses a retry of nothing, and of jobs that have not failed.

    :raises HTTPException: 422.
    """
    if asked.state != "failed":
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, ONLY_FAILED)
    if not chosen and not is_all:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, NOTHING_CHOSEN)


@contextmanager
def explained(conn: psycopg.Connection[Any]) -> Generator[None]:
    """Says what to grant when the role of the connection may not retry.

    :raises HTTPException: 503, it may not.
    """
    try:
        yield
    except InsufficientPrivilege as error:
        detail = (
            f"The database role of this server, {conn.info.user}, may not retry jobs. "
            f"The owner of the schema can allow it: pgaudit grant --operator {conn.info.user}"
        )
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, detail) from error


def retry_named(conn: psycopg.Connection[Any], chosen: list[int], scope: Filter) -> list[int]:
    """Retries those of the jobs that have failed and are in the scope."""
    with explained(conn):
        return job_pages.retry_named(conn, chosen, scope)


def retry_batch(conn: psycopg.Connection[Any], wanted: Filter, after: Place) -> Retried:
    """Retries a batch of those that match."""
    with explained(conn):
        return job_pages.retry_batch(conn, wanted, after)
