"""Settings of the project. Environment variables choose the database and the options under test."""

import json
import os

from psycopg.conninfo import conninfo_to_dict

_where = conninfo_to_dict(os.environ["PROJECT_DSN"])
DATABASES = {
    "default": {
        "ENGINE": os.environ.get("PROJECT_ENGINE", "django.db.backends.postgresql"),
        "NAME": _where["dbname"],
        "USER": _where.get("user", ""),
        "PASSWORD": _where.get("password", ""),
        "HOST": _where.get("host", ""),
        "PORT": _where.get("port", ""),
        "ATOMIC_REQUESTS": os.environ.get("PROJECT_ATOMIC_REQUESTS") == "yes",
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "pgaudit.django",
    "tests.django.project.accounts",
    "tests.django.project.cases",
    "tests.django.project.monitors",
    *os.environ.get("PROJECT_APPS", "").split(),
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "pgaudit.middleware.django.audit_middleware",
]
AUTHENTICATION_BACKENDS = ["tests.django.project.accounts.backends.EmailBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
PGAUDIT = {"LOGINS": True, "PERMISSIONS": True, "ATOMIC_SAVES": True} | json.loads(
    os.environ.get("PROJECT_PGAUDIT", "{}")
)
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ALLOWED_HOSTS = ["*"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.django.project.urls"
SECRET_KEY = "of the tests"
STATIC_URL = "/static/"
USE_TZ = True
