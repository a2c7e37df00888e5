"""Tests of ``pgaudit.sqlalchemy``."""
