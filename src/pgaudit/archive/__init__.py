"""An archive: another Postgres that gets each event by logical replication, and keeps what the primary loses.

================  ==============================================================================
setting_up        from two databases to an archive that follows; safe to repeat
publication       the publication on the primary: inserts only, through the root of the log
subscription      the schema, the first copy and the subscription on the archive
checking          whether the archive follows: slot, subscription, guards, contents
replication_slot  how much WAL the primary keeps for the archive, and for how long
comparison        compares the events of both, row by row
conninfo          connection strings, without their passwords
findings          what can be wrong
================  ==============================================================================
"""

from pgaudit.archive.checking import Report, check
from pgaudit.archive.conninfo import conninfo_at
from pgaudit.archive.findings import Finding
from pgaudit.archive.publication import NAME
from pgaudit.archive.setting_up import Archive, setup

__all__ = ["NAME", "Archive", "Finding", "Report", "check", "conninfo_at", "setup"]
