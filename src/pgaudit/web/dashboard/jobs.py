"""The pages of the jobs: lists by state, and one job with its event and its errors."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgaudit import stats
from pgaudit.errors import JobNotFound
from pgaudit.jobs import JobError
from pgaudit.jobs import pages as job_pages
from pgaudit.jobs.pages import JobPage, QueuedJob
from pgaudit.web.dashboard.frame import Dashboard
from pgaudit.web.dashboard.job_requests import STATES, Asked, count_of, place_of, place_text
from pgaudit.web.dashboard.job_retries import Retries
from pgaudit.web.dashboard.job_views import ShownJob, is_limited_by_search, scope_of, sees_everything, shown_errors
from pgaudit.web.reads import Reader
from pgaudit.web.routes import parse_job_id
from pgaudit.web.views import Connection


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns the routes of the lists, of one job, and of retries."""
    jobs, retries = Jobs(dashboard), Retries(dashboard)
    return [
        Route("/jobs", jobs.list, methods=["GET"]),
        Route("/jobs/retry", retries.confirm, methods=["GET"]),
        Route("/jobs/retry", retries.retry, methods=["POST"]),
        Route("/jobs/{id}", jobs.job, methods=["GET"]),
    ]


class Jobs:
    """Lists of jobs, and one job."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._queue = dashboard.lookups.share(stats.queue_stats)

    async def list(self, request: Request) -> Response:
        """Returns a page of the jobs in a state.

        :raises HTTPException: 422, the address asks for no such page.
        """
        viewer = await self._dashboard.viewer(request)
        asked, after = Asked.of(request.query_params), place_of(request.query_params.get("after"))
        wanted = asked.seen_by(viewer)
        reader = Reader.of(request, viewer, self._dashboard.settings)

        def look(conn: Connection) -> JobPage:
            page = job_pages.list_page(conn, asked.state, wanted, after)
            reader.viewed(conn, jobs=asked.state, count=len(page.jobs))
            return page

        page = await self._dashboard.lookups.run(look)
        return self._dashboard.render(
            request,
            "jobs.html",
            viewer,
            asked=asked,
            states=STATES,
            queue=(await self._queue.result())[0] if sees_everything(viewer) else None,
            jobs=[ShownJob.of(viewer, job) for job in page.jobs],
            next=place_text(page.next),
            is_first=after == job_pages.START,
            look=job_pages.LOOK,
            hides_by_search=is_limited_by_search(viewer),
            retried=count_of(request.query_params.get("retried")),
            chosen=count_of(request.query_params.get("chosen")),
            rest=request.query_params.get("rest"),
        )

    async def job(self, request: Request) -> Response:
        """Returns one job.

        :raises JobNotFound: it is not in the queue, or not for this viewer.
        """
        viewer = await self._dashboard.viewer(request)
        try:
            job_id = parse_job_id(request.path_params["id"])
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        wanted = scope_of(viewer)
        reader = Reader.of(request, viewer, self._dashboard.settings)

        def look(conn: Connection) -> tuple[QueuedJob, list[JobError]] | None:
            found = job_pages.find(conn, job_id, wanted)
            if found is not None:
                reader.viewed(conn, job=job_id)
            return found

        found = await self._dashboard.lookups.run(look)
        if found is None:
            raise JobNotFound(f"There is no job {job_id} in the queue: a job leaves it when its event is in the log")
        job, errors = found
        shown = ShownJob.of(viewer, job)
        return self._dashboard.render(
            request, "job.html", viewer, one=shown, errors=shown_errors(errors, withheld=shown.is_masked)
        )
