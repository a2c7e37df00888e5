"""Tests of the dashboard beside Django, for Django's users. test_admin.py runs them by name."""

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest.mock import patch

import httpx
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import TransactionTestCase, override_settings

from pgaudit import AuditEvent, Settings
from pgaudit.django.access import DjangoAccess, project_access
from pgaudit.django.database import dsn_of
from pgaudit.web import create_app
from tests.django.project.monitors.limits import mask, scope
from tests.django.project.monitors.staff import append, permission, user, with_permissions
from tests.support.http import client_of

EVENTS = "/api/v1/audit/events"
OPEN = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%%auth_%%' AND pid <> %s"
)


@with_permissions
class Dashboard(TransactionTestCase):  # type: ignore[misc]  # Django ships no types
    """The dashboard serves in a thread, so that tests commit what it reads."""

    def setUp(self) -> None:
        append(*(AuditEvent(action="check.moved", tenant=name, data={"email": "a@b.c"}) for name in ("north", "south")))

    @contextmanager
    def served(self, access: DjangoAccess | None = None) -> Generator[httpx.Client]:
        """Serves the dashboard; returns a client with the session of ``self.client``."""
        app = create_app(Settings(dsn=dsn_of("default")), access=access or DjangoAccess(login_url="admin:login"))
        with client_of(app) as client:
            client.cookies.update({name: cookie.value for name, cookie in self.client.cookies.items()})
            yield client

    def log_in(self, *permissions: str, groups: tuple[str, ...] = ()) -> User:
        """Logs in a new user."""
        made = user("ada", *permissions, groups=groups, is_staff=False)
        self.client.force_login(made)
        return made

    def test_each_permission_allows_one_thing(self) -> None:
        """Without a permission all is refused; view_event reads, export_event exports, retry_job retries."""
        made = self.log_in()
        export, retry = "/api/v1/audit/export?format=ndjson", "/api/v1/admin/queues/jobs/99/retry"
        with self.served() as client:

            def statuses() -> tuple[int, int, int]:
                read, exported = (client.get(path).status_code for path in (EVENTS, export))
                return read, exported, client.post(retry).status_code

            assert statuses() == (403, 403, 403)
            for codename, expected in (
                ("view_event", (200, 403, 403)),
                ("export_event", (200, 200, 403)),
                ("retry_job", (200, 200, 404)),
            ):
                made.user_permissions.add(*permission(codename))
                assert statuses() == expected, codename
            assert "ada" in client.get("/events").text

    def test_nobody_is_sent_to_the_login_of_django(self) -> None:
        """A program without a session, or with an unknown one, gets 401; a browser goes to Django's login."""
        with self.served() as client:
            assert client.get(EVENTS).status_code == 401
            client.cookies.set("sessionid", "unknown")
            assert client.get(EVENTS).status_code == 401
            page = client.get("/events", headers={"Accept": "text/html"})
            assert (page.status_code, page.headers["Location"].split("?")[0]) == (303, "/admin/login/")

    def test_a_session_ends_as_it_does_in_django(self) -> None:
        """A new password, an inactive user and a logout end it at once."""
        made = self.log_in("view_event")
        with self.served() as client:
            assert client.get(EVENTS).status_code == 200
            User.objects.filter(pk=made.pk).update(is_active=False)
            assert client.get(EVENTS).status_code == 401
            User.objects.filter(pk=made.pk).update(is_active=True)
            assert client.get(EVENTS).status_code == 200
            made.set_password("another")
            made.save()
            assert client.get(EVENTS).status_code == 401
            made.refresh_from_db()
            self.client.force_login(made)
            client.cookies.set("sessionid", self.client.cookies["sessionid"].value)
            self.client.logout()
            assert client.get(EVENTS).status_code == 401

    def test_a_session_survives_a_new_secret_key(self) -> None:
        """A session of an older SECRET_KEY counts, and stays as it is, because only Django can send its new cookie."""
        made = self.log_in("view_event")
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["of the tests"]), self.served() as client:
            for _ in range(2):
                assert client.get(EVENTS).status_code == 200
            (session,) = Session.objects.all()
        assert session.session_key == self.client.cookies["sessionid"].value
        assert session.get_decoded()[SESSION_KEY] == str(made.pk)

    def test_scope_and_mask_are_those_of_the_project(self) -> None:
        """A user sees the events of their groups' tenants, without hidden values; the scope may ask the database."""
        self.log_in("view_event", groups=("north",))
        path = "tests.django.project.monitors.limits.access"
        with override_settings(PGAUDIT={"ACCESS": path}):
            named = project_access()
        for access in (DjangoAccess(scope=scope, mask=mask), named):
            with self.served(access) as client:
                found = [one["event"] for one in client.get(EVENTS).json()["entries"]]
            assert {(event["tenant"], event["data"]["email"]) for event in found} == {("north", "hidden")}

    def test_no_connection_is_left_open(self) -> None:
        """After many requests at once, the threads that have asked Django hold no connection."""
        self.log_in("view_event")
        with self.served(DjangoAccess(scope=scope)) as client:
            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(lambda _: client.get(EVENTS).status_code, range(40))) == {200}
            with connection.cursor() as cursor:
                cursor.execute(OPEN, [connection.connection.info.backend_pid])
                assert cursor.fetchone() == (0,)

    def test_the_application_of_the_project_serves_both(self) -> None:
        """In one application, Django answers, the dashboard sends to its login, and then knows the user."""
        with patch.dict(os.environ, PGAUDIT_DSN=dsn_of("default")):
            from tests.django.project import asgi  # noqa: PLC0415 - reads PGAUDIT_DSN

        self.log_in("view_event")
        with client_of(asgi.dashboard), client_of(asgi.app) as client:  # a mount alone would not end its connections
            assert client.get("/about").text == "public"
            page = client.get("/audit/events", headers={"Accept": "text/html"})
            assert page.headers["Location"] == "/admin/login/?next=%2Faudit%2Fevents"
            client.cookies.set("sessionid", self.client.cookies["sessionid"].value)
            assert "check.moved" in client.get("/audit/events").text
