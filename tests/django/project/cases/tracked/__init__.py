"""Tests of track and changes_of. tests/django/test_tracking.py runs them by name."""
