"""A receiver of the worker's signals."""

import logging
from typing import Any

from pgaudit.signals import job_failed, job_stalled

alerts = logging.getLogger("alerts")


@job_failed.connect
@job_stalled.connect
def page(signal: str, *, job_id: int, **details: Any) -> None:
    """Called in the worker's process and event loop: hand anything slow to a thread."""
    alerts.error("%s: job %d %s", signal, job_id, details)
