"""How the result of ``pgaudit reconcile`` is printed: as JSON, or in sentences."""

from dataclasses import asdict
from typing import Any, Final

from pgaudit.cli.output import in_utc
from pgaudit.cli.terminal import say
from pgaudit.sealing.reconcile import Finding, Inspected, Reconciled

Report = Reconciled | Inspected

UNPROVED: Final = (
    "Not proved: that no job was deleted from the queue, and no event from the end of the log since the last "
    "checkpoint. The database remembers neither. With PGAUDIT_WAL_RECEIPTS=on and the archived WAL, `pgaudit reconcile "
    "--wal DIR` does. Nothing proves that an event was recorded for each change."
)


def is_reconciled(report: Report) -> bool:
    """Returns whether nothing was found, and with a WAL also whether there was something to compare."""
    return report.is_reconciled if isinstance(report, Reconciled) else not report.found


def as_json(report: Report) -> dict[str, Any]:
    """Returns the result as an object."""
    return {"reconciled": is_reconciled(report)} | asdict(report)


def tell(report: Report) -> None:
    """Prints the result in sentences."""
    if isinstance(report, Reconciled):
        print_reconciled(report)
    else:
        print_inspected(report)


def print_reconciled(report: Reconciled) -> None:
    """Prints what was compared, what is missing, and what was not looked at."""
    for finding in report.findings:
        say(f"{finding.kind}: {described(finding)}")
    listed = len(report.findings)
    if (total := report.lost + report.altered + (report.unreceipted or 0) + report.gaps) > listed:
        say(f"… and {total - listed:,} more.")
    say(f"{verdict(report)}: {places(report)}")
    say(coverage(report))
    if sentence := beginning(report):
        say(sentence)
    for database, count in report.of_other_databases.items():
        say(f"{count:,} receipts are of the database with the number {database}, and were not looked for.")


def described(finding: Finding) -> str:
    """Returns a finding as a sentence."""
    if finding.committed_at is None:
        return f"{finding.message} (leaf hash {finding.leaf_hash})" if finding.leaf_hash else finding.message
    return (
        f"{finding.message} (leaf hash {finding.leaf_hash}, at {finding.lsn}, transaction {finding.xid}, committed "
        f"{in_utc(finding.committed_at, 'milliseconds')})"
    )


def verdict(report: Reconciled) -> str:
    """Returns the verdict in one or two words."""
    if report.is_reconciled:
        return "Reconciled"
    return "Not reconciled" if report.findings else "Nothing to check"


def places(report: Reconciled) -> str:
    """Returns where the events of the receipts are."""
    if not report.receipts:
        return "the WAL has no receipts of this database; set PGAUDIT_WAL_RECEIPTS=on where events are recorded"
    without = "" if report.unreceipted is None else f"; {report.unreceipted:,} events of the log have no receipt"
    return (
        f"of {report.receipts:,} events that were committed, {report.in_log:,} are in the log, {report.in_queue:,} in "
        f"the queue, {report.acknowledged:,} acknowledged, {report.sighted:,} known already; {report.lost:,} are lost, "
        f"{report.altered:,} altered{without}"
    )


def coverage(report: Reconciled) -> str:
    """Returns which part of the WAL was read, and which was not."""
    parts = [f"Read: timeline {report.timeline} from {report.start} to {report.end}"]
    if report.first_receipt and report.last_receipt:
        first, last = (in_utc(moment, "seconds") for moment in (report.first_receipt, report.last_receipt))
        parts.append(f"with receipts from {first} to {last}")
    if report.unread_bytes:
        parts.append(f"and not the {report.unread_bytes:,} bytes that the server has written since")
    return (
        f"{', '.join(parts)}. Receipts of rolled-back changes: {report.rolled_back:,}; of transactions without an end "
        f"there: {report.unfinished:,}. Nothing is said of events without a receipt, and of WAL that was not read."
    )


def beginning(report: Reconciled) -> str:
    """Returns a sentence if the log is older than the WAL; otherwise nothing."""
    if not (report.log_begins and report.first_commit and report.log_begins < report.first_commit):
        return ""
    return (
        f"The log begins at {in_utc(report.log_begins, 'seconds')}, and that WAL at "
        f"{in_utc(report.first_commit, 'seconds')}: what was committed before is not proved."
    )


def print_inspected(report: Inspected) -> None:
    """Prints what log and queue prove, and what they do not."""
    for finding in report.findings:
        say(f"{finding.kind}: {finding.place}: {finding.message}")
    if report.found > len(report.findings):
        say(f"… and {report.found - len(report.findings):,} more.")
    altered = sum(finding.kind == "altered" for finding in report.findings)
    say(f"Queue: {report.jobs:,} jobs; {altered:,} have another event than their leaf hash says.")
    say(
        f"Transactions of the {report.jobs:,} jobs and {report.events:,} events of the log: {report.committed:,} "
        f"committed, {report.forgotten:,} too old for the server to know, {report.foreign:,} not of this server (it "
        "was restored from a dump, or they were written by hand)."
    )
    say(UNPROVED)
