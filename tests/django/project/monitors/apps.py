"""Configuration of the application."""

from django.apps import AppConfig


class MonitorsConfig(AppConfig):  # type: ignore[misc]  # Django ships no types
    """Connects the signal receivers that record events."""

    name = "tests.django.project.monitors"

    def ready(self) -> None:
        from tests.django.project.monitors import trail  # noqa: PLC0415 - needs the models

        trail.connect()
