"""The route that exports events as a file."""

from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from pgaudit.trail.export.plans import Format
from pgaudit.web.api.parameters import Q, search_of
from pgaudit.web.api.viewer import CurrentViewer
from pgaudit.web.exporting import Exports, File

FileFormat = Annotated[
    Format, Query(alias="format", description="What the file has: an event in each line, or a table.")
]
Columns = Annotated[
    list[str], Query(max_length=100, description="Further columns of CSV and Parquet, such as `data.amount`.")
]
Bom = Annotated[bool, Query(description="CSV begins with a byte order mark, by which Excel knows UTF-8.")]


class ExportRoutes:
    """The route that exports events."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports

    async def export(  # noqa: PLR0913, PLR0917 - one for each parameter
        self,
        request: Request,
        viewer: CurrentViewer,
        q: Q = "",  # noqa: ARG002 - it is read with the other fields
        file_format: FileFormat = "ndjson",
        columns: Columns = [],  # noqa: B006 - FastAPI copies it
        bom: Bom = False,  # noqa: FBT002
    ) -> Response:
        """Returns the events that a search finds as a file, in the order of the log, as it is when the export begins.

        The export is recorded as `audit.export_started` and `audit.exported`; `Export-Id` is the id of their target.
        """
        search = search_of(request.query_params, ("q", "format", "columns", "bom"))
        return await self._exports.response(request, viewer, search, File(file_format, tuple(columns), bom))
