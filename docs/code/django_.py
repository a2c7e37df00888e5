"""Django's settings: the application, and the middleware."""

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "pgaudit.django",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "pgaudit.middleware.django.audit_middleware",
]
PGAUDIT = {"LOGINS": True, "PERMISSIONS": True, "ATOMIC_SAVES": True}
