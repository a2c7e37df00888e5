"""An authentication backend as in Django's manual: without a base class and without asynchronous methods."""

from typing import Any

from django.contrib.auth.models import User


class EmailBackend:
    """Finds users by their e-mail address."""

    def authenticate(self, _request: Any, username: str, password: str) -> Any:
        """Returns the user with that address and password, or None."""
        user = User.objects.filter(email=username).first()
        return user if user and user.check_password(password) else None

    def get_user(self, pk: int) -> Any:
        """Returns the user that a session names."""
        return User.objects.filter(pk=pk).first()
