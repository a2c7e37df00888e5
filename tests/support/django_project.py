"""The Django project of the tests. A process can have only one."""

import django
from django.conf import settings

urlpatterns: list[object] = []


def configure() -> None:
    """Configures Django if it is not configured; each test sets the database of its connection."""
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}},
            ROOT_URLCONF=__name__,
            SECRET_KEY="of the tests",
            USE_TZ=True,
        )
        django.setup()
