"""Tests of the audit trail of one object in Django's admin. test_admin.py runs them by name."""

from unittest.mock import patch

from django.conf import settings
from django.db import connection
from django.test import TestCase, override_settings

from pgaudit import AuditEvent, Change
from pgaudit.events import Actor
from pgaudit.testing import assert_recorded
from tests.django.project.monitors.admin import CheckAdmin
from tests.django.project.monitors.models import Check, Project
from tests.django.project.monitors.staff import analyze, append, limited, rows_read, statements, user, with_permissions

EVIL = "<img src=x onerror=alert(1)>"
OWN_PAGE = '{% extends "admin/change_form.html" %}{% block form_top %}of our own{% endblock %}'
LOADERS = [
    ("django.template.loaders.locmem.Loader", {"own_change_form.html": OWN_PAGE}),
    "django.template.loaders.app_directories.Loader",
]
(ENGINE,) = settings.TEMPLATES
OWN = [{**ENGINE, "APP_DIRS": False, "OPTIONS": ENGINE["OPTIONS"] | {"loaders": LOADERS}}]


@with_permissions
class Trail(TestCase):  # type: ignore[misc]  # Django ships no types
    """The button on the change page, and the page that it leads to."""

    def setUp(self) -> None:
        self.project = Project.objects.create(name="p", api_key="k")
        self.check = Check.objects.create(project=self.project, name="Ping")
        self.reader = user("ada", "view_event", "view_check", "view_project")
        self.client.force_login(self.reader)

    @property
    def path(self) -> str:
        """The address of the page of the check."""
        return f"/admin/monitors/check/{self.check.pk}/audit/"

    def get(self, path: str = "", status: int = 200, **query: str) -> str:
        """Returns the text of a page; by default that of the check."""
        response = self.client.get(path or self.path, query)
        assert response.status_code == status, response.status_code
        return str(response.content.decode())

    def test_the_page_tells_what_has_changed(self) -> None:
        """Each event of the object is there with who, when and the fields before and after; others are not."""
        target = f"check:{self.check.pk}"
        changes = [Change(path="name", before="Ping", after="Pong")]
        append(
            AuditEvent(action="check.renamed", actor="user:7", target=target, changes=changes, reason="was wrong"),
            AuditEvent(action="team.moved", targets=["team:1", target], changes=[Change(path="lead", after="bob")]),
            AuditEvent(action="check.moved", target=f"check:{self.check.pk + 1}"),
            AuditEvent(action="check.deleted", target=target, outcome="denied"),
        )
        html = self.get()
        for text in ("check.renamed", "user:7", "was wrong", ">name<", "Ping", "Pong", "denied", "Changes of team:1"):
            assert text in html, text
        assert "check.moved" not in html
        assert html.index("check.deleted") < html.index("team.moved") < html.index("check.renamed")

    def test_the_button_is_for_those_who_may(self) -> None:
        """The change page has the button for readers of the trail; the page is refused to all others."""
        change = self.path.replace("audit", "change")
        assert f'href="{self.path}"' in self.get(change)
        self.client.force_login(user("bob", "view_check"))
        assert self.path not in self.get(change)
        self.get(status=403)
        self.client.force_login(user("eve", "view_event"))
        self.get(status=403)
        self.client.logout()
        assert self.client.get(self.path).headers["Location"].startswith("/admin/login/")

    def test_the_button_is_on_pages_with_a_template_of_their_own(self) -> None:
        """A ModelAdmin with its own template keeps it, and has the button, too; a page to add an object has none."""
        change = self.path.replace("audit", "change")
        with patch.object(CheckAdmin, "change_form_template", "own_change_form.html"), override_settings(TEMPLATES=OWN):
            html = self.get(change)
        assert "of our own" in html
        assert f'href="{self.path}"' in html
        self.reader.is_superuser = True
        self.reader.save()
        assert "Audit trail" not in self.get("/admin/monitors/check/add/")

    def test_the_type_of_the_target_can_be_named(self) -> None:
        """``audit_target_type`` stands for the model's name."""
        append(AuditEvent(action="client.billed", target=f"client:{self.project.pk}"))
        append(AuditEvent(action="project.moved", target=f"project:{self.project.pk}"))
        html = self.get(f"/admin/monitors/project/{self.project.pk}/audit/")
        assert "client.billed" in html
        assert "project.moved" not in html

    def test_an_object_that_the_admin_hides_has_no_page(self) -> None:
        """For an object that is missing, or that ``get_queryset`` leaves out, the page leads to the index."""
        append(AuditEvent(action="check.moved", target=f"check:{self.check.pk}"))
        with patch.object(CheckAdmin, "get_queryset", lambda *_: Check.objects.none()):
            assert self.client.get(self.path).headers["Location"] == "/admin/"
        assert self.client.get("/admin/monitors/check/99/audit/").headers["Location"] == "/admin/"
        assert self.client.post(self.path).status_code == 405

    def test_no_field_can_inject_html(self) -> None:
        """HTML in the object's name and in the event's fields is shown as text."""
        Check.objects.filter(pk=self.check.pk).update(name=EVIL)
        changes = [Change(path=EVIL, before=EVIL, after={EVIL: EVIL}), Change(path="y", before=EVIL, after=EVIL * 2)]
        event = AuditEvent(
            action="check.moved",
            actor=Actor(type="user", id=EVIL),
            target=f"check:{self.check.pk}",
            reason=EVIL,
            changes=changes,
        )
        append(event)
        for html in (self.get(), self.get(status=422, after=EVIL), self.get(self.path.replace("audit", "change"))):
            assert "<img src=x" not in html
            assert "&lt;img src=x" in html

    @limited  # type: ignore[untyped-decorator]
    def test_a_scope_limits_the_page(self) -> None:
        """Events of other tenants are left out."""
        target = f"check:{self.check.pk}"
        append(*(AuditEvent(action=f"check.{tenant}", target=target, tenant=tenant) for tenant in ("north", "south")))
        self.client.force_login(user("bob", "view_event", "view_check", groups=["north"]))
        html = self.get()
        assert "check.north" in html
        assert "check.south" not in html

    def test_ten_thousand_events_stay_bounded(self) -> None:
        """A page has twenty events, reads about as many rows, leads on to older ones, and is recorded if asked."""
        target = f"check:{self.check.pk}"
        append(*(AuditEvent(action="check.moved", target=target, data={"n": n}) for n in range(10_000)))
        analyze()
        with statements() as ran:
            context = self.client.get(self.path).context
        assert len(ran) <= 16, [str(query) for query, _ in ran]
        assert 20 <= rows_read(ran) <= 100
        newest = [one["entry"].event["data"]["n"] for one in context["moments"]]
        assert newest == list(range(9_999, 9_979, -1))
        older = self.client.get(f"{self.path}?{context['older_page']}").context
        assert [one["entry"].event["data"]["n"] for one in older["moments"]] == list(range(9_979, 9_959, -1))
        with override_settings(PGAUDIT={"RECORD_READS": True}):
            self.get()
        actor = f"user:{self.reader.pk}"
        assert_recorded(connection, action="audit.viewed", actor=actor, target=target, data={"count": 20})
