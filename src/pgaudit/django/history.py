"""The audit trail of an object in Django's admin: a button on its change page, and a page of its events."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from typing import Any, Final

from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_safe

from pgaudit.django import viewing
from pgaudit.django.models import AuditEntry
from pgaudit.errors import InvalidQuery
from pgaudit.trail import Query
from pgaudit.trail.timelines import single
from pgaudit.web.dashboard.event_views import changes_of
from pgaudit.web.masking import MaskedEntry

PER_PAGE: Final = 20


class AuditHistoryMixin:
    """Gives a ModelAdmin the button "Audit trail" and the page ``<object_id>/audit/``.

    >>> @admin.register(Claim)
    ... class ClaimAdmin(AuditHistoryMixin, admin.ModelAdmin):
    ...     audit_target_type = "claim"

    Users need ``pgaudit.view_event`` and the right to view the object.
    """

    audit_target_type: str | None = None
    """The type of the targets that stand for these objects; the name of the model in lower case by default."""
    audit_template = "admin/pgaudit/audit_trail.html"

    def audit_target(self: Any, obj: Any) -> tuple[str, str]:
        """Returns type and id of an object as events have it: its primary key, unless this is overridden."""
        return self.audit_target_type or self.opts.model_name, str(obj.pk)

    def has_audit_permission(self: Any, request: Any, obj: Any) -> bool:
        """Returns whether the user may view the object, and read the trail."""
        return bool(self.has_view_or_change_permission(request, obj)) and viewing.may_read(request.user)

    def get_urls(self: Any) -> list[Any]:
        """Returns the addresses of the ModelAdmin, and that of the page."""
        view = self.admin_site.admin_view(require_safe(self.audit_view))
        urls: list[Any] = super().get_urls()  # type: ignore[misc]
        return [path("<path:object_id>/audit/", view, name=self._name("audit")), *urls]

    def render_change_form(self: Any, request: Any, context: Any, *args: Any, **options: Any) -> Any:
        """Returns the change page of the ModelAdmin, whatever its template is, with the button."""
        response = super().render_change_form(request, context, *args, **options)  # type: ignore[misc]
        obj = context.get("original")
        if obj is not None and self.has_audit_permission(request, obj):
            response.context_data["page_without_button"] = response.resolve_template(response.template_name)
            response.context_data["audit_url"] = self._url("audit", obj)
            response.template_name = "admin/pgaudit/change_form_with_button.html"
        return response

    def audit_view(self: Any, request: Any, object_id: str) -> Any:
        """Returns the page of an object's events, twenty at a time, the newest first.

        :raises PermissionDenied: the user may not view the object, or not read the trail.
        """
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_audit_permission(request, obj):
            raise PermissionDenied
        kind, identity = self.audit_target(obj)
        target = f"{kind}:{identity}"
        listed = searched(request, (kind, identity))
        if not listed.problem:
            viewing.record_viewed(request, target=target, count=len(listed.view.entries))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Audit trail: {obj}",
            "opts": self.opts,
            "object": obj,
            "object_url": self._url("change", obj),
            "target": target,
            "moments": [shown(entry, target) for entry in listed.view.entries],
            "has_events": self.admin_site.is_registered(AuditEntry),
            **listed.context(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.audit_template, context, status=listed.status)

    def _name(self: Any, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    def _url(self: Any, page: str, obj: Any) -> str:
        """Returns the address of a page of an object."""
        return str(reverse(f"admin:{self._name(page)}", args=[quote(obj.pk)], current_app=self.admin_site.name))


def searched(request: Any, target: tuple[str, str]) -> viewing.Listed:
    """Returns a page of the events of a target, or what is wrong with the target or the address."""
    try:
        query = Query((single("target", target),))
    except InvalidQuery as error:
        return viewing.Listed(problem=error)
    return viewing.searched(request, query, PER_PAGE)


def shown(entry: MaskedEntry, target: str) -> dict[str, Any]:
    """Returns an event with the rows of its changes, and what they are about if that is another target."""
    reason = entry.event.get("reason")
    return {
        "entry": entry,
        "reason": None if reason is None else str(reason),
        "changes": changes_of(entry.event.get("changes")),
        "about": entry.target if entry.target != target else None,
    }
