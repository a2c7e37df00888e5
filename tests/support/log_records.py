"""The application log, as caplog has captured it."""

import logging

import pytest


def records_of(caplog: pytest.LogCaptureFixture, action: str) -> list[logging.LogRecord]:
    """Returns the records with that action."""
    return [entry for entry in caplog.records if entry.__dict__.get("action") == action]
