"""Exports of the log: exactly what a query finds, as NDJSON, CSV or Parquet.

==============  ==================================================================================
``plans``       what an export will have: query, format, and the size of the log at its start
``portions``    reading its events, a portion at a time
``stream``      its bytes, without a connection: portions go in, pieces of the file come out
``access``      the events that say who exports what
``copying``     from the log to a file or pipe, recorded
``target``      the names of the finished and unfinished files
``files``       a file that can be continued until it is finished
``pipe``        standard output
``checkpoint``  how far an unfinished file has come
``manifest``    what a finished file has, and how to check it
``ndjson``      an event in each line, as it is stored
``csv_``        a table for spreadsheets
``parquet``     a table with types, by pyarrow
``staging``     the unfinished file of a format that cannot be continued
``columns``     the columns of both tables
``rows``        what is written of an event: all of it, or a masked copy
==============  ==================================================================================
"""

from pgaudit.errors import ExportRefused
from pgaudit.trail.export.access import exported, started
from pgaudit.trail.export.plans import Format, Plan, plan, plan_async
from pgaudit.trail.export.portions import Portion, portion, portion_async
from pgaudit.trail.export.rows import MaskedRow, Row
from pgaudit.trail.export.stream import Stream, chunks, chunks_async

__all__ = [
    "ExportRefused",
    "Format",
    "MaskedRow",
    "Plan",
    "Portion",
    "Row",
    "Stream",
    "chunks",
    "chunks_async",
    "exported",
    "plan",
    "plan_async",
    "portion",
    "portion_async",
    "started",
]
