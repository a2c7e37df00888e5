"""The audit trail over HTTP: a dashboard, probes, statistics and retries for administrators, metrics for Prometheus.

=============================================  ===============================================================
``GET /``                                      the dashboard
``GET /api/v1/health/queues``                  200, or 503 when the trail is unhealthy, with the reason
``GET /api/v1/health/ready``                   200, or 503 when this server cannot do its work
``GET /api/v1/health/live``                    200 while the process answers
``GET /api/v1/admin/queues/stats``             the queue and its workers
``GET /api/v1/admin/queues/health``            the health report with all details
``POST /api/v1/admin/queues/jobs/{id}/retry``  runs a failed job again
``GET /api/v1/audit/events``                   events that a search finds, page by page
``GET /api/v1/audit/events/{id}``              one event, by its index or id
``GET /api/v1/audit/events/{id}/proof``        the proof that it is in the signed log
``GET /api/v1/audit/integrity``                how far the log is signed, verified and anchored
``GET /api/v1/audit/timeline/{type}/{id}``     the life of one thing, and its state at a moment
``GET /api/v1/audit/export``                   events that a search finds, as NDJSON, CSV or Parquet
``GET /metrics``                               OpenMetrics
``GET /api/v1/openapi.json``                   describes them all
=============================================  ===============================================================

Dashboard and admin routes ask the ``access`` that is given to ``create_app``. Without one they need
``PGAUDIT_ADMIN_TOKEN``: typed at the dashboard's login, or sent as ``Authorization: Bearer``. ``/metrics`` needs
``PGAUDIT_METRICS_TOKEN`` if that is set. Errors are RFC 9457 problem details, and pages for browsers.

``pgaudit serve`` runs the application alone. Mounted, the paths are the same below the mount point:

>>> Starlette(routes=[Mount("/audit", app=create_app())])             # Starlette
>>> FastAPI().mount("/audit", create_app())                           # FastAPI
>>> Starlette(routes=[Mount("/audit", app=create_app()), Mount("/", app=get_asgi_application())])  # Django

Its database role has to be a worker, which may retry jobs, too: ``pgaudit grant --worker ROLE``.

===============  ============================================================================
``application``  the FastAPI application
``access``       who may see and do what: the protocol, and two that are ready
``guard``        asks the access about a request, and refuses when in doubt
``masking``      events as a viewer may see them; ``masked_searches`` refuses searches for what they may not see
``sessions``     signed cookies of those who have logged in with the token
``dashboard``    the pages
``routes``       the admin routes and the metrics
``probes``       the health routes, which the health port serves as well
``scrape``       reads what the metrics report
``metrics``      the metrics in the OpenMetrics format
``tokens``       bearer tokens
``api``          the JSON API of the trail
``views``        the log as a viewer may see it: the scope of each search, and masked values
``integrity``    how far the log is signed, verified and anchored; ``proofs`` proves one event
``reads``        records who has read the trail
``exporting``    exports as responses
``streams``      responses that are sent piece by piece
``bodies``       what is sent as JSON
``problems``     what is sent when something is wrong
``lookups``      runs look-ups: few at a time, in threads of their own, shared by equal requests
``database``     the connections
``mount``        where the application is mounted
``server``       runs an application under uvicorn
``health_port``  serves the health routes beside a worker; loads no FastAPI
===============  ============================================================================
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pgaudit.errors import MissingExtra

if TYPE_CHECKING:
    from pgaudit.web.application import create_app
    from pgaudit.web.health_port import probing
    from pgaudit.web.server import serve

__all__ = ["create_app", "probing", "serve"]

MODULES: Final = {"create_app": "application", "probing": "health_port", "serve": "server"}
PACKAGES: Final = {"fastapi", "itsdangerous", "jinja2", "starlette", "prometheus_client", "uvicorn"}


def __getattr__(name: str) -> Any:
    """Imports a function when it is first used: a worker's health port does without FastAPI.

    :raises MissingExtra: the packages of the extra are not installed.
    """
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in PACKAGES:
            raise
        raise MissingExtra(
            'HTTP needs fastapi, itsdangerous, jinja2, prometheus-client and uvicorn: pip install "pgaudit[web]"'
        ) from error
