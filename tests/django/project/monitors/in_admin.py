"""Tests of the audit events in Django's admin. test_admin.py runs them by name."""

from typing import Any
from unittest.mock import patch

from django.db import connection
from django.test import TestCase, override_settings
from django.urls import reverse

from pgaudit import AuditEvent, Change
from pgaudit.django import apps, extra
from pgaudit.django.models import AuditEntry
from pgaudit.events import Actor, AuditContext, Target
from pgaudit.testing import assert_recorded
from tests.django.project.monitors.staff import analyze, append, limited, rows_read, statements, user, with_permissions

LIST = "/admin/pgaudit/auditentry/"
EVIL = "<img src=x onerror=alert(1)>"


def page_of(entry: Any) -> str:
    """Returns the address of an event."""
    return str(reverse("admin:pgaudit_auditentry_change", args=[entry.index]))


@with_permissions
class Events(TestCase):  # type: ignore[misc]  # Django ships no types
    """The list and the page of an event."""

    def setUp(self) -> None:
        self.reader = user("ada", "view_event")
        self.client.force_login(self.reader)

    def get(self, path: str = LIST, status: int = 200, **query: str) -> str:
        """Returns the text of a page."""
        response = self.client.get(path, query)
        assert response.status_code == status, response.status_code
        return str(response.content.decode())

    def test_the_permission_opens_the_pages(self) -> None:
        """Staff with pgaudit.view_event see the list and an event; others are refused, and their index has no link."""
        append(AuditEvent(action="check.moved"))
        entry = AuditEntry.objects.first()
        assert f'href="{LIST}"' in self.get("/admin/")
        for path in (LIST, page_of(entry)):
            assert "check.moved" in self.get(path)
        self.client.force_login(user("bob", "view_check"))
        assert LIST not in self.get("/admin/")
        for path in (LIST, page_of(entry), f"{LIST}?q=x"):
            assert "check.moved" not in self.get(path, 403)
        for visitor in (user("eve", "view_event", is_staff=False), None):
            self.client.force_login(visitor) if visitor else self.client.logout()
            assert self.client.get(LIST).headers["Location"].startswith("/admin/login/")

    def test_nothing_can_be_changed(self) -> None:
        """Not even a superuser finds a page to add, change or delete an event, and no page takes a form."""
        append(AuditEvent(action="check.moved"))
        entry = AuditEntry.objects.first()
        self.reader.is_superuser = True
        self.reader.save()
        for path in ("add/", f"{entry.index}/delete/", f"{entry.index}/history/", f"{entry.index}/"):
            assert self.client.get(LIST + path).status_code == 404
            assert self.client.post(LIST + path, {"post": "yes"}).status_code == 404
        for path in (LIST, page_of(entry)):
            form = {"action": "delete_selected", "_selected_action": entry.index, "_save": "1"}
            assert self.client.post(path, form).status_code == 405
        html = self.get() + self.get(page_of(entry)) + self.get("/admin/")
        for part in (f"{LIST}add/", 'name="_save"', "deletelink"):
            assert part not in html
        assert AuditEntry.objects.filter(index=entry.index).exists()

    def test_a_search_finds_events_in_the_language_of_pgaudit(self) -> None:
        """The box takes the language of ``pgaudit search``, and shows the search again."""
        append(
            *(AuditEvent(action=f"check.{verb}", target=f"check:{pk}") for pk, verb in enumerate(["moved", "paused"]))
        )
        html = self.get(q="target:check:1 action:check.*")
        assert "check.paused" in html
        assert "check.moved" not in html
        assert 'value="target:check:1 action:check.*"' in html

    def test_a_mistake_is_told_in_plain_words(self) -> None:
        """The page names the fault and marks its place; a wrong cursor is a fault as well."""
        html = self.get(status=422, q="action:check.moved colour:red")
        assert "colour" in html
        assert f"{' ' * len('action:check.moved ')}^</pre>" in html
        assert "quote is not closed" in self.get(status=422, q='tenant:"North')
        assert "is not a cursor" in self.get(status=422, after="17")
        assert "NUL" in self.get(status=422, q="a\0b")

    def test_the_page_has_all_of_an_event(self) -> None:
        """The page has every part of the event with all digits of its numbers, and checks the leaf hash."""
        event = AuditEvent(
            action="check.moved",
            actor=Actor(type="user", id="7", name="Ada"),
            targets=[Target(type="check", id="3", name="Ping", role="subject"), "project:9"],
            tenant="north",
            outcome="denied",
            reason="is paused",
            changes=[Change(path="place", before=1, after=2)],
            data={"big": 12345678901234567890},
            context=AuditContext(request_id="r-1", ip="10.0.0.1"),
        )
        append(event)
        html = self.get(page_of(AuditEntry.objects.get(event_id=event.id)))
        shown = ("user:7 (Ada)", "check:3 (subject, Ping)", "project:9", "north", "denied", "is paused", "r-1")
        for text in (*shown, "12345678901234567890", str(event.id), "✓ Intact"):
            assert text in html, text
        assert str(event.id) in self.get(f"{LIST}{event.id}/change/")

    def test_no_field_can_inject_html(self) -> None:
        """HTML in any field, and in the search, is shown as text."""
        event = AuditEvent(
            action="check.moved",
            actor=Actor(type=EVIL, id=EVIL, name=EVIL, on_behalf_of="user:1"),
            targets=[Target(type=EVIL, id=EVIL, name=EVIL, role=EVIL)],
            tenant=EVIL,
            reason=EVIL,
            changes=[Change(path=EVIL, before=EVIL * 2, after=f"{EVIL} {EVIL}"), Change(path="x", after={EVIL: EVIL})],
            data={EVIL: {EVIL: [EVIL]}},
            context=AuditContext(request_id=EVIL, user_agent=EVIL),
        )
        append(event)
        for html in (
            self.get(),
            self.get(f"{LIST}{event.id}/change/"),
            self.get(status=422, q=EVIL),
            self.get(status=422, after=EVIL),
            self.get(q=f'tenant:"{EVIL}"'),
        ):
            assert "<img src=x" not in html
            assert "&lt;img src=x" in html

    def test_what_is_not_there_is_not_found(self) -> None:
        """An index or an id without an event, and anything else, is 404."""
        for key in ("99", "-1", "abc", str(2**70), "01890000-0000-7000-8000-000000000000", "007"):
            self.get(f"{LIST}{key}/change/", 404)

    @limited  # type: ignore[untyped-decorator]
    def test_a_scope_limits_the_list_the_search_and_the_page(self) -> None:
        """With ACCESS, users see the tenants of their groups only, whatever they search for."""
        append(*(AuditEvent(action="check.moved", tenant=tenant, target="check:1") for tenant in ("north", "south")))
        north, south = AuditEntry.objects.order_by("index").filter(action="check.moved")
        self.client.force_login(user("bob", "view_event", groups=["north"]))
        for query in ("", "target:check:1", "tenant:north,south"):
            html = self.get(q=query)
            assert page_of(north) in html
            assert page_of(south) not in html
        assert "No event that you may see" in self.get(q="tenant:south")
        self.get(page_of(north))
        self.get(page_of(south), 404)
        self.client.force_login(user("eve", "view_event"))
        assert "check.moved" not in self.get()

    @limited  # type: ignore[untyped-decorator]
    def test_a_masked_value_is_nowhere(self) -> None:
        """A hidden value is in no page, the hash and the text are withheld, and a search for it is refused."""
        append(AuditEvent(action="check.moved", tenant="north", context=AuditContext(ip="192.0.2.7"), data={"n": 1}))
        entry = AuditEntry.objects.get(action="check.moved")
        self.client.force_login(user("bob", "view_event", groups=["north"]))
        html = self.get(page_of(entry))
        assert "192.0.2.7" not in html
        assert "hidden" in html
        assert "Leaf hash" not in html
        assert "You may not search by ip" in self.get(status=403, q="ip:192.0.2.7")

    def test_an_access_that_fails_shows_nothing(self) -> None:
        """A scope that raises, or is no scope, refuses the page."""
        append(AuditEvent(action="check.moved"))
        for returned in ({"side_effect": RuntimeError}, {"return_value": None}):
            scope = patch("pgaudit.django.access.DjangoAccess.scope", **returned)
            with scope, self.assertLogs("pgaudit.web", "ERROR"):
                assert "check.moved" not in self.get(status=403)

    def test_looking_is_recorded_if_the_settings_say_so(self) -> None:
        """With RECORD_READS, the list and the page are events of the user; by default they are not."""
        append(AuditEvent(action="check.moved"))
        entry = AuditEntry.objects.first()
        self.get()
        with override_settings(PGAUDIT={"RECORD_READS": True, "REQUIRE": "target"}):
            self.get(q="action:check.*")
            self.get(page_of(entry))
        actor = f"user:{self.reader.pk}"
        assert_recorded(connection, times=2, action="audit.viewed", actor=actor)
        assert_recorded(connection, action="audit.viewed", data={"query": "action:check.*", "count": 1})
        assert_recorded(connection, action="audit.viewed", data={"event": str(entry.event_id)})

    def test_missing_packages_are_named(self) -> None:
        """Without pgaudit[web] the system check says what to install; with it, or without the list, nothing."""
        assert apps.check_admin() == []
        with patch.object(extra, "PACKAGES", ("no_such_package",)):
            (warning,) = apps.check_admin()
            assert 'pip install "pgaudit[web]"' in warning.hint
            with override_settings(PGAUDIT={"ADMIN": False}):
                assert apps.check_admin() == []

    def test_ten_thousand_events_stay_bounded(self) -> None:
        """A page reads about as many rows as it shows, in few statements, and leads through the log both ways."""
        append(*(AuditEvent(action="check.moved", target=f"check:{n % 97}", data={"n": n}) for n in range(10_000)))
        analyze()
        newest = AuditEntry.objects.first().index
        for query in ("", "target:check:5"):
            with statements() as ran:
                first = self.client.get(LIST, {"q": query})
            assert len(first.context["view"].entries) == 50
            assert len(ran) <= 14, [str(query) for query, _ in ran]
            assert 50 <= rows_read(ran) <= 200
        first = self.client.get(LIST).context
        assert [entry.index for entry in first["view"].entries] == list(range(newest, newest - 50, -1))
        second = self.client.get(f"{LIST}?{first['older_page']}").context
        assert [entry.index for entry in second["view"].entries] == list(range(newest - 50, newest - 100, -1))
        back = self.client.get(f"{LIST}?{second['newer_page']}").context
        assert [entry.index for entry in back["view"].entries] == [entry.index for entry in first["view"].entries]
        with patch("pgaudit.trail.bounded.MOST_EXAMINED", 600):
            response = self.client.get(LIST, {"q": "request:none"})
        assert "No event so far" in response.content.decode()
        assert "Continue with older" in response.content.decode()
        assert response.context["older_page"].startswith("q=request%3Anone&after=before-")
