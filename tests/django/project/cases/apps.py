"""Configuration of the application."""

from django.apps import AppConfig


class CasesConfig(AppConfig):  # type: ignore[misc]  # Django ships no types
    """Tracks the changes of claims."""

    name = "tests.django.project.cases"

    def ready(self) -> None:
        from pgaudit.django import audit, track  # noqa: PLC0415 - needs the settings
        from tests.django.project.cases.models import Claim, Payment  # noqa: PLC0415 - needs the other applications

        track(audit, Claim, target="claim", mask=["email"])
        track(audit, Payment, target="payment", fields=["amount"])
