"""The list of audit events in Django's admin, and the page of one event. Nothing can be changed there."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from http import HTTPStatus
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.template.response import TemplateResponse
from django.urls import path
from django.views.decorators.http import require_safe

from pgaudit._exact_json import to_json
from pgaudit.django import viewing
from pgaudit.web.dashboard import values
from pgaudit.web.dashboard.event_views import Reference, actor_of, changes_of, recomputed, targets_of

COLUMNS: Final = ("Recorded", "Action", "Outcome", "Actor", "Target", "Tenant")
FACTS: Final = ("reason", "recorded_by", "xid", "schema_version")
PARTS: Final = ("data", "context")


class AuditEventAdmin(admin.ModelAdmin):  # type: ignore[misc]  # Django ships no types
    """Searches with the language of ``pgaudit search``, by pages that need no count of the log.

    For another admin site: ``site.register(AuditEntry, AuditEventAdmin)``.
    """

    list_per_page = 50
    list_template = "admin/pgaudit/auditentry/change_list.html"
    event_template = "admin/pgaudit/auditentry/change_form.html"

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        """Returns whether the user has ``pgaudit.view_event``."""
        return viewing.may_read(request.user)

    def has_module_permission(self, request: Any) -> bool:
        """Returns whether the admin's index shows the list."""
        return self.has_view_permission(request)

    def has_add_permission(self, request: Any) -> bool:  # noqa: ARG002
        """Returns False."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:  # noqa: ARG002
        """Returns False."""
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:  # noqa: ARG002
        """Returns False."""
        return False

    def get_urls(self) -> list[Any]:
        """Returns the addresses of the list and of an event. There are none for adding, changing and deleting."""
        view, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("", view(require_safe(self.changelist_view)), name=f"{name}_changelist"),
            path("<str:object_id>/change/", view(require_safe(self.change_view)), name=f"{name}_change"),
        ]

    def changelist_view(self, request: Any, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Returns a page of events that a search finds.

        :raises PermissionDenied: the user may not read the trail.
        """
        viewing.viewer_of(request)
        query = request.GET.get("q", "").strip()
        try:
            listed = viewing.searched(request, query, self.list_per_page)
        except PermissionDenied as error:
            listed, refusal = viewing.Listed(), str(error)
        else:
            refusal = ""
        if not listed.problem and not refusal:
            viewing.record_viewed(request, query=query, count=len(listed.view.entries))
        context = {"query": query, "columns": COLUMNS, "refusal": refusal, **listed.context(q=query)}
        status = HTTPStatus.FORBIDDEN if refusal else listed.status
        return self._page(request, self.list_template, "Audit events", context | (extra_context or {}), status)

    def change_view(
        self, request: Any, object_id: str, _form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Returns everything of one event.

        :raises Http404: there is none that the user may see.
        :raises PermissionDenied: the user may not read the trail.
        """
        entry = viewing.found(request, object_id)
        viewing.record_viewed(request, event=str(entry.event_id))
        actor = actor_of(entry)
        context = {
            "entry": entry,
            "actor": actor and described(actor),
            "targets": list(map(described, targets_of(entry))),
            "facts": [(name, text_of(entry.event[name])) for name in FACTS if entry.event.get(name) is not None],
            "changes": changes_of(entry.event.get("changes")),
            "parts": [(name, values.json_html(entry.event[name])) for name in PARTS if entry.event.get(name)],
            "document": values.json_html(entry.event),
            "is_intact": recomputed(entry),
            "leaf_hash": entry.leaf_hash and entry.leaf_hash.hex(),
        }
        return self._page(request, self.event_template, str(entry.action), context | (extra_context or {}))

    def _page(
        self, request: Any, template: str, title: str, context: dict[str, Any], status: int = HTTPStatus.OK
    ) -> TemplateResponse:
        """Returns a page of the admin."""
        request.current_app = self.admin_site.name
        shared = {**self.admin_site.each_context(request), "title": title, "opts": self.opts}
        return TemplateResponse(request, template, shared | context, status=status)


def described(reference: Reference) -> str:
    """Returns an actor or a target for people to read: "user:7 (Ada)"."""
    others = [text for text in (reference.role, reference.name) if text]
    others += [f"on behalf of {reference.on_behalf_of}"] if reference.on_behalf_of else []
    return f"{reference.text} ({', '.join(others)})" if others else reference.text


def text_of(value: object) -> str:
    """Returns a text as it is, and another value as JSON."""
    return value if isinstance(value, str) else to_json(value)
