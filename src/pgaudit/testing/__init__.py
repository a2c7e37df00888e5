"""For the tests of applications that record: a pytest plugin, and asserts with a readable diff.

The plugin is there once ``pgaudit`` is installed; ``audit_database`` needs ``pip install "pgaudit[testing]"``. Nothing
else here needs pytest.

========================  =======================================================================
``audit_events``          fixture: what the code under test recorded, in memory, without a database
``audit_database``        fixture: a real, migrated, disposable database, its log and queue empty
``audit_guard``           fixture: fails a test that changes rows of a guarded table without an event
``run_worker_once``       persists what is in the queue, in this process, before it returns
``assert_recorded``       of those events, or of a connection's log and queue
``prepare_database``      migrates a test database of the application's own
``empty_trail``           empties the log and queue of a test database
``testing.django``        does both for Django's test databases
========================  =======================================================================

>>> def test_approving_a_claim_is_recorded(audit_events):
...     approve(claim=7)
...     audit_events.assert_recorded(action="claim.approved", target="claim:7", data={"amount": "1000.00"})

``PGAUDIT_MODE`` of the environment serves tests too: with ``inline`` events are in the log without a worker, with
``off`` they are checked and dropped. ``audit_events`` gets them in every mode.
"""

from pgaudit.testing.asserts import assert_nothing_recorded, assert_recorded
from pgaudit.testing.database import AuditDatabase
from pgaudit.testing.disposable import NotATestDatabase, empty_trail, prepare_database
from pgaudit.testing.expectation import Expected
from pgaudit.testing.guarding import AuditGuard
from pgaudit.testing.recorded import RecordedEvents, recording
from pgaudit.testing.worker import EventsNotPersisted, run_worker_once

__all__ = [
    "AuditDatabase",
    "AuditGuard",
    "EventsNotPersisted",
    "Expected",
    "NotATestDatabase",
    "RecordedEvents",
    "assert_nothing_recorded",
    "assert_recorded",
    "empty_trail",
    "prepare_database",
    "recording",
    "run_worker_once",
]
