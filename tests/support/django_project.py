"""The Django project of the tests: a process can have one alone."""

import django
from django.conf import settings

urlpatterns: list[object] = []


def configure() -> None:
    """Configures Django, unless it is; the database is the one that a test gives its connection."""
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}},
            ROOT_URLCONF=__name__,
            SECRET_KEY="of the tests",
            USE_TZ=True,
        )
        django.setup()
