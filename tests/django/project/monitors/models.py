"""Models: projects and their checks."""

from django.db import models


class Project(models.Model):  # type: ignore[misc]  # Django ships no types
    """A client of the API, with its key."""

    name = models.TextField()
    api_key = models.TextField(unique=True)

    def __str__(self) -> str:
        return str(self.name)


class Check(models.Model):  # type: ignore[misc]
    """A check of a project, such as a cron job that has to report."""

    project = models.ForeignKey(Project, models.CASCADE)
    name = models.TextField()
    paused = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.name)
