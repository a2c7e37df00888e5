"""The route about the coverage: which tables of the application are captured or guarded."""

from pgaudit.guard import Coverage, coverage
from pgaudit.web.api.viewer import CurrentViewer
from pgaudit.web.coverage import shown
from pgaudit.web.lookups import Lookups


class CoverageRoutes:
    """The route about the coverage."""

    def __init__(self, lookups: Lookups) -> None:
        self._coverage = lookups.share(coverage.report)

    async def coverage(self, viewer: CurrentViewer) -> Coverage:
        """Returns the tables, and what passed their guards without an event in the last day, at most a second old."""
        return await shown(viewer, await self._coverage.result())
