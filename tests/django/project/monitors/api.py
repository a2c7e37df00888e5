"""The API. Each view finds the project by the API key of the request."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404

from pgaudit import AuditEvent, Change, identify
from pgaudit.django import audit
from tests.django.project.monitors.models import Check, Project


def by_key(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Passes the project of the API key to the view; answers 401 if there is none."""

    @wraps(view)
    def wrapper(request: HttpRequest, **arguments: Any) -> HttpResponse:
        project = Project.objects.filter(api_key=request.headers.get("X-Api-Key")).first()
        if project is None:
            return HttpResponse(status=401)
        identify(actor=f"project:{project.pk}")
        return view(request, project=project, **arguments)

    return wrapper


@by_key
def create(request: HttpRequest, project: Project) -> HttpResponse:
    """Adds a check without opening a transaction."""
    check = Check.objects.create(project=project, name=request.POST["name"])
    return JsonResponse({"id": check.pk}, status=201)


@by_key
def pause(_request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """Changes a row with ``update``, which sends no signal."""
    with transaction.atomic():
        changed = Check.objects.filter(project=project, pk=pk, paused=False).update(paused=True)
        if changed:
            change = Change(path="paused", before=False, after=True)
            audit.record(connection, AuditEvent(action="check.paused", target=f"check:{pk}", changes=(change,)))
    return JsonResponse({"changed": changed})


@by_key
def delete(_request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """Deletes a check."""
    get_object_or_404(Check, project=project, pk=pk).delete()
    return HttpResponse(status=204)
