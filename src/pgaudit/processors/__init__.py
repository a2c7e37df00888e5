"""Processors: functions of the application that are called with each event they ask for, once it is in the log.

==================  ======================================================================================
declaration         the decorator, and the processors that were declared
declaration_checks  checks the arguments of the decorator
backoff             how often an event is tried, and after how long
entry               what a processor gets
exceptions          what it may raise
modules             imports the modules that declare processors
dispatcher          a worker's thread that dispatches, and registers the processors
dispatching         adds a job for each event that a processor wants
attempt             calls the function; in a thread, ``threads``, unless it is asynchronous
outcomes            how an attempt ended
catalog             the processors of a database: statistics, pauses, backfills
==================  ======================================================================================

The worker runs the jobs: ``pgaudit.worker.processing``. ``pgaudit.jobs.processed`` lists them.
"""

from pgaudit.processors.backoff import Backoff
from pgaudit.processors.catalog import (
    Backfill,
    ProcessorStats,
    backfill,
    backfills,
    found,
    listed,
    pause,
    remove,
    resume,
)
from pgaudit.processors.declaration import Processor, processor
from pgaudit.processors.entry import ProcessorEntry
from pgaudit.processors.exceptions import Discard, Retry

__all__ = [
    "Backfill",
    "Backoff",
    "Discard",
    "Processor",
    "ProcessorEntry",
    "ProcessorStats",
    "Retry",
    "backfill",
    "backfills",
    "found",
    "listed",
    "pause",
    "processor",
    "remove",
    "resume",
]
