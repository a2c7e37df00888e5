"""Signing in and out."""

from django.contrib.auth import authenticate, login, logout
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse

from pgaudit import AuditEvent
from pgaudit.django import audit


def sign_in(request: HttpRequest) -> HttpResponse:
    """Signs in, or answers 403."""
    user = authenticate(request, username=request.POST["email"], password=request.POST["password"])
    if user is None:
        raise PermissionDenied
    login(request, user)
    with transaction.atomic():
        audit.record(connection, AuditEvent(action="device.noticed"))
    return HttpResponse("welcome")


def sign_out(request: HttpRequest) -> HttpResponse:
    """Signs out the user of the request, if any."""
    logout(request)
    return HttpResponse("bye")


async def profile(_request: HttpRequest) -> HttpResponse:
    """Records an event in an asynchronous view."""
    await audit.record_autonomous_async(AuditEvent(action="profile.viewed"))
    return HttpResponse("profile")


def about(_request: HttpRequest) -> HttpResponse:
    """Records nothing."""
    return HttpResponse("public")
