"""A backend as Django's manual describes one: without a base class, and without asynchronous methods."""

from typing import Any

from django.contrib.auth.models import User


class EmailBackend:
    """Knows users by their e-mail address."""

    def authenticate(self, _request: Any, username: str, password: str) -> Any:
        """Returns the user, or None."""
        user = User.objects.filter(email=username).first()
        return user if user and user.check_password(password) else None

    def get_user(self, pk: int) -> Any:
        """Returns the user of a session."""
        return User.objects.filter(pk=pk).first()
