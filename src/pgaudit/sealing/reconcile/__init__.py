"""Reconciling: whether every event that was committed is in the log or in the queue.

==========  ================================================================================
comparing   the receipts of the WAL against log and queue: ``reconcile``
inspection  what log and queue can prove without the WAL: ``inspect``
lookups     where the event of a receipt is
receipts    from records of the WAL to the receipts of committed transactions
filter      the receipts that were read, in constant memory
records     the lines that ``pg_waldump`` prints, read strictly
waldump     the program, and what it says
segments    the files of a WAL directory
==========  ================================================================================
"""

from pgaudit.sealing.reconcile.comparing import Finding, Reconciled, reconcile
from pgaudit.sealing.reconcile.inspection import Inspected, inspect

__all__ = ["Finding", "Inspected", "Reconciled", "inspect", "reconcile"]
