"""Tests of the Django application ``pgaudit.django``."""
