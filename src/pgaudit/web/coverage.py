"""The coverage as a viewer may see it: targets, roles and transactions are masked as those of events are."""

from dataclasses import replace
from typing import Any, cast

from starlette.concurrency import run_in_threadpool

from pgaudit.guard import Coverage, UnrecordedChange
from pgaudit.web.guard import Viewer
from pgaudit.web.masking import masked_event, reference


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
    targets = [dict(zip(("type", "id"), target.split(":", 1), strict=True)) for target in change.targets]
    event = masked_event(viewer, {"targets": targets, "recorded_by": change.role, "xid": change.transaction})
    seen = cast("list[Any]", event["targets"] if isinstance(event["targets"], list) else [event["targets"]])
    return replace(
        change,
        targets=[str(reference(target)) for target in seen],
        role=str(event["recorded_by"]),
        transaction=str(event["xid"]),
    )
