"""The audit trail over HTTP: health for probes, statistics and retries for administrators, figures for Prometheus.

=============================================  ===============================================================
``GET /api/v1/health/queues``                  200, or 503 when unhealthy, with the reason
``GET /api/v1/admin/queues/stats``             the queue and its workers
``GET /api/v1/admin/queues/health``            the health report with all details
``POST /api/v1/admin/queues/jobs/{id}/retry``  runs a failed job again
``GET /metrics``                               OpenMetrics
``GET /api/v1/openapi.json``                   describes them all
=============================================  ===============================================================

The admin routes want ``Authorization: Bearer`` with ``PGAUDIT_ADMIN_TOKEN``. Errors are RFC 9457 problem details.

``pgaudit serve`` runs it alone. Mounted, the paths are the same below the mount point:

>>> Starlette(routes=[Mount("/audit", app=create_app())])             # Starlette
>>> FastAPI().mount("/audit", create_app())                           # FastAPI
>>> Starlette(routes=[Mount("/audit", app=create_app()), Mount("/", app=get_asgi_application())])  # Django

Its database role has to be a worker, which may retry jobs, too: ``pgaudit grant --worker ROLE``.

===============  ==============================================
``application``  puts routes, errors and database together
``routes``       what each route does
``tokens``       who may use the admin routes
``bodies``       what is sent as JSON
``problems``     what is sent when something is wrong
``openapi``      the document that describes it all
``metrics``      the trail as metrics
``database``     the connections
``server``       runs it: alone, or beside a worker
===============  ==============================================
"""

from typing import Final

from pgaudit.errors import MissingExtra

PACKAGES: Final = {"starlette", "prometheus_client", "uvicorn"}

try:
    from pgaudit.web.application import create_app
    from pgaudit.web.server import probing, serve
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in PACKAGES:
        raise
    raise MissingExtra('HTTP needs starlette, prometheus-client and uvicorn: pip install "pgaudit[web]"') from error

__all__ = ["create_app", "probing", "serve"]
