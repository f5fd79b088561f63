"""Exports: a list as CSV (RFC 4180) for whoever sends `Accept: text/csv`, whole, page by page.

No cell is a formula: a text that a spreadsheet would compute begins with an apostrophe; numbers
stay numbers. An export that cannot go on (the store is away, too many rows, a client that does not
read) is broken off, never ended as if it were whole.
"""

import asyncio
import csv
import io
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from starlette.types import Receive, Scope, Send

from gatewayz.control.context import RequestContext
from gatewayz.core.faults import Fault
from gatewayz.core.pagination import Cursor
from gatewayz.web.api.shapes import ListResponse, ResponseModel
from gatewayz.web.asgi import wait_for_disconnect

PAGE_ROWS = 1_000
MAX_ROWS = 1_000_000
"""Of one export: about 300 MB of calls. A longer one is asked for in spans of time."""
UNREAD_S = 30.0
"""How long a client may not read."""
CSV = "text/csv"
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
FORMULA_STARTS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
"""What a formula begins with for spreadsheets; the last four are the first four in full width."""
FORMULA = re.compile(rf"(\A[\t\r\n]?|[;\t\r\n]\"*)(?=[{FORMULA_STARTS}])|\A(?=[\t\r\n])")
"""Before a formula: at the start of a text, or where some spreadsheets see the end of a cell."""
HIDDEN_FIELDS = frozenset({"object"})
FetchPage = Callable[[Cursor], Awaitable[ListResponse[Any]]]


def _wants_csv(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return any(part.partition(";")[0].strip().lower() == CSV for part in accept.split(","))


WantsCsv = Annotated[bool, Depends(_wants_csv)]


def export_csv(
    ctx: RequestContext,
    name: str,
    row_model: type[ResponseModel],
    fetch_page: FetchPage,
    after: str = "",
) -> Response:
    """The rows after a cursor as the file `name`.csv, with the fields of `row_model` as columns.

    Faults: when it is sent: `rate_limited`, before anything is read, and those of the first page.
    """
    columns = [field for field in row_model.model_fields if field not in HIDDEN_FIELDS]
    return CsvResponse(ctx, name, columns, fetch_page, after)


class CsvResponse(Response):
    """Sends a page, and reads the next one when the client has taken it."""

    media_type = f"{CSV}; charset=utf-8; header=present"

    def __init__(
        self,
        ctx: RequestContext,
        name: str,
        columns: Sequence[str],
        fetch_page: FetchPage,
        after: str,
    ) -> None:
        super().__init__()
        # The length is not known before the last page.
        del self.headers["content-length"]
        self.headers["content-disposition"] = f'attachment; filename="{name}.csv"'
        self._columns = columns
        self._fetch_page = fetch_page
        self._after = after
        self._slot = ctx.control.exports.slot(ctx.account)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        disconnect = asyncio.get_running_loop().create_task(wait_for_disconnect(receive))
        try:
            with self._slot:
                first = await self._fetch_page(Cursor(after=self._after, limit=PAGE_ROWS))
                await self._send_file(first, send, disconnect)
        finally:
            disconnect.cancel()

    async def _send_file(
        self, first: ListResponse[Any], send: Send, disconnect: "asyncio.Task[None]"
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await self._send_pages(first, send, disconnect)
        except (Fault, TimeoutError):
            # Without its last piece the answer is broken off: the client sees that it is not whole.
            return

    async def _send_pages(
        self, first: ListResponse[Any], send: Send, disconnect: "asyncio.Task[None]"
    ) -> None:
        page, count, text = first, 0, csv_lines([self._columns])
        while True:
            rows = [[csv_cell(getattr(row, name)) for name in self._columns] for row in page.data]
            count += len(rows)
            body = (text + csv_lines(rows)).encode()
            async with asyncio.timeout(UNREAD_S):
                await send({"type": "http.response.body", "body": body, "more_body": True})

            if disconnect.done() or count > MAX_ROWS:
                return
            if page.next is None:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            page, text = await self._fetch_page(Cursor(after=page.next, limit=PAGE_ROWS)), ""


def csv_cell(value: Any) -> str:
    """A value as it stands in a file. Example: `csv_cell("=1+1")` is `"'=1+1"`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if NUMBER.fullmatch(text) else FORMULA.sub(_escape_formula, text)


def _escape_formula(match: re.Match[str]) -> str:
    """The apostrophe is first in a text, and comes after what ends a cell."""
    return f"'{match[0]}" if match.start() == 0 else f"{match[0]}'"


def csv_lines(rows: Sequence[Sequence[str]]) -> str:
    """Rows as RFC 4180 writes them."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
