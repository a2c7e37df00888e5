"""The coverage as a viewer may see it: targets, roles and transactions are masked as those of events are."""

from dataclasses import replace
from typing import Any

from starlette.concurrency import run_in_threadpool

from pgaudit.guard import Coverage, UnrecordedChange
from pgaudit.web.guard import Viewer
from pgaudit.web.masking import masked_value, reference


async def shown(viewer: Viewer, report: Coverage) -> Coverage:
    """Returns the coverage as a viewer may see it. Masks are asked in a thread, because they may use a database.

    :raises HTTPException: 403, the access could not decide about a value.
    """
    return replace(report, latest=await run_in_threadpool(masked_changes, viewer, report.latest))


def masked_changes(viewer: Viewer, changes: list[UnrecordedChange]) -> list[UnrecordedChange]:
    """Returns changes as a viewer may see them."""
    return [masked_change(viewer, change) for change in changes]


def masked_change(viewer: Viewer, change: UnrecordedChange) -> UnrecordedChange:
    """Returns a change as a viewer may see it."""
    return replace(
        change,
        targets=[masked_target(viewer, target) for target in change.targets],
        role=str(masked_value(viewer, "recorded_by", change.role)),
        transaction=str(masked_value(viewer, "xid", change.transaction)),
    )


def masked_target(viewer: Viewer, target: str) -> str:
    """Returns a target as a viewer may see it."""
    kind, _, identity = target.partition(":")
    shown: Any = masked_value(viewer, "targets", {"type": kind, "id": identity})
    return str(reference(shown))
