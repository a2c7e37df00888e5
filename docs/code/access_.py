"""Who may see what in the dashboard: an access of the application's own."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection

from pgaudit.web.access import Action, Scope

RIGHTS = {"auditor": {"read", "export"}, "operator": {"read", "retry"}}
PERSONAL = ("actor.name", "context.ip", "data.email")


@dataclass(frozen=True)
class Employee:
    """What the application knows of the person who is logged in."""

    name: str
    role: str
    tenants: frozenset[str]

    def __str__(self) -> str:
        """Returns the name that the dashboard shows."""
        return self.name


class EmployeeAccess:
    """Auditors export, operators retry jobs; both see their tenants, and operators no personal data."""

    login_url = "/login"

    def user(self, request: HTTPConnection) -> Employee | None:
        """Returns the person who has logged in to the application; None if nobody has."""
        employee: dict[str, Any] | None = request.session.get("employee")
        return Employee(employee["name"], employee["role"], frozenset(employee["tenants"])) if employee else None

    def allows(self, user: Employee, action: Action) -> bool:
        """Returns whether the role has the right."""
        return action in RIGHTS.get(user.role, set())

    def scope(self, user: Employee) -> Scope:
        """Returns the tenants of the person, without what concerns salaries."""
        return Scope(tenants=user.tenants, query="-action:payroll.*")

    def mask(self, user: Employee, path: str, value: object) -> object:
        """Hides personal data from operators."""
        return "hidden" if user.role == "operator" and path in PERSONAL else value
