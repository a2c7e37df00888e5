"""Projects, and what they watch."""

from django.db import models


class Project(models.Model):  # type: ignore[misc]  # Django ships no types
    """Has an API key."""

    name = models.TextField()
    api_key = models.TextField(unique=True)

    def __str__(self) -> str:
        return str(self.name)


class Check(models.Model):  # type: ignore[misc]
    """Something that is watched."""

    project = models.ForeignKey(Project, models.CASCADE)
    name = models.TextField()
    paused = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.name)
