"""In ``tests/__init__.py``, or in pytest's ``conftest.py``."""

from pgaudit.testing.django import audit_test_databases

audit_test_databases()  # or the aliases of the databases that have a trail
