"""Claims over HTTP: a Django project in one file, its ORM, the trail's routes beside it, and the worker in a process.

Run it in a clone, against the Postgres that ``embedded:data`` starts in the directory ``data``::

    pip install ".[all]" "django>=5.1"
    export PGAUDIT_DSN=embedded:data
    pgaudit migrate
    pgaudit worker &
    uvicorn --app-dir examples/django --no-proxy-headers app:app

    curl -H "X-User: ada" --json '{"holder": "Ada", "amount": "250.00"}' localhost:8000/claims
    curl -H "X-User: bob" -X POST localhost:8000/claims/1/approve
    curl localhost:8000/audit/api/v1/health/queues
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connection, models, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST
from psycopg.conninfo import conninfo_to_dict
from starlette.applications import Starlette
from starlette.routing import Mount

from pgaudit import AuditEvent, AuditLog, Change
from pgaudit.web import create_app

audit = AuditLog()  # settings from PGAUDIT_*; no I/O until it is used
database = conninfo_to_dict(audit.settings.conninfo)

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    DATABASES={
        "default": {  # the database that the trail is in: one transaction holds both
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database.pop("dbname", ""),
            "OPTIONS": database | {"pool": {"max_size": 10}},
        }
    },
    MIDDLEWARE=["pgaudit.middleware.django.audit_middleware"],  # after those that authenticate
    PGAUDIT_ACTOR=f"{__name__}.actor",  # left out, it is request.user
    ROOT_URLCONF=__name__,
    USE_TZ=True,
)
django.setup()


class Claim(models.Model):  # type: ignore[misc]  # Django ships no types
    """Submits a claim for an amount."""

    id = models.BigAutoField(primary_key=True)
    holder = models.TextField()
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    status = models.TextField(default="submitted")

    class Meta:
        """A model outside of an application says which one it is of."""

        app_label = "claims"
        db_table = "claims"

    def __str__(self) -> str:
        return f"claim {self.id}, {self.status}"


class Declined(Exception):
    """The bank does not pay."""


def actor(request: HttpRequest) -> str | None:
    """Who is asking. A header is anybody's word: your authentication takes its place."""
    user = request.headers.get("X-User")
    return f"user:{user}" if user else None


def submit(request: HttpRequest) -> HttpResponse:
    """Submits a claim."""
    new = json.loads(request.body)
    with transaction.atomic():
        claim = Claim.objects.create(holder=new["holder"], amount=Decimal(new["amount"]))
        data = {"amount": claim.amount}
        audit.record(connection, AuditEvent(action="claim.submitted", target=f"claim:{claim.id}", data=data))
    return JsonResponse({"id": claim.id, "status": claim.status}, status=201)


def approve(_request: HttpRequest, claim_id: int) -> HttpResponse:
    """Approves a claim and has it paid, or says why not."""
    try:
        claim = approve_and_pay(claim_id)
    except Claim.DoesNotExist:
        return JsonResponse({"error": f"no claim {claim_id} waits for an approval"}, status=404)
    except Declined as error:
        return JsonResponse({"error": str(error)}, status=409)
    return JsonResponse({"id": claim.id, "status": claim.status})


@transaction.atomic  # type: ignore[untyped-decorator]
def approve_and_pay(claim_id: int) -> Claim:
    """One transaction: when the bank declines, neither the change nor its event remains."""
    claim: Claim = Claim.objects.select_for_update().get(pk=claim_id, status="submitted")
    claim.status = "approved"
    claim.save(update_fields=["status"])
    change = Change(path="status", before="submitted", after="approved")
    audit.record(connection, AuditEvent(action="claim.approved", target=f"claim:{claim_id}", changes=(change,)))
    pay(claim.amount)
    return claim


def pay(amount: Decimal) -> None:
    """Stands for the bank."""
    if amount > 1000:
        raise Declined(f"the bank declines to pay {amount}")


urlpatterns = [
    path("claims", require_POST(submit)),
    path("claims/<int:claim_id>/approve", require_POST(approve)),
]


def create_table() -> None:
    """Creates the table, unless it is there; in a project of several files, a migration does."""
    if Claim._meta.db_table not in connection.introspection.table_names():  # noqa: SLF001 - public, by Django's manual
        with connection.schema_editor() as editor:
            editor.create_model(Claim)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
    """Creates the table before anything is served."""
    await sync_to_async(create_table)()
    yield
    connection.close_pool()


routes = [Mount("/audit", app=create_app()), Mount("/", app=get_asgi_application())]
app = Starlette(routes=routes, lifespan=lifespan)
