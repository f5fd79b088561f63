"""Exports: a list as CSV (RFC 4180) for whoever sends `Accept: text/csv`, whole, a page of the store at a time.

No cell is a formula: a text that a spreadsheet would reckon begins with an apostrophe; numbers stay numbers. An export
that cannot go on (the store is away, too many rows, a client that does not read) is broken off, never ended as if it
were whole.
"""

import asyncio
import csv
import io
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from starlette.types import Receive, Scope, Send

from gatewayz.core.faults import Fault
from gatewayz.store.sql.slices import Cut
from gatewayz.web.api.shapes import Listed, Shown
from gatewayz.web.api.visit import Visit

PAGE_ROWS = 1_000
MAX_ROWS = 1_000_000
"""Of one export: about 300 MB of calls. A longer one is asked for in spans of time."""
UNREAD_S = 30.0
"""How long a client may not read."""
CSV = "text/csv"
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
BEGINS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
"""What a formula begins with for spreadsheets; the last four are the first four in full width."""
FORMULA = re.compile(rf"(\A[\t\r\n]?|[;\t\r\n]\"*)(?=[{BEGINS}])|\A(?=[\t\r\n])")
"""Before a formula at the beginning of a text, and after what some spreadsheets take for the end of a cell."""
SKIPPED = frozenset({"object"})
Page = Callable[[Cut], Awaitable[Listed[Any]]]


def _wants_csv(request: Request) -> bool:
    asked = request.headers.get("accept", "")
    return any(part.partition(";")[0].strip().lower() == CSV for part in asked.split(","))


AsCsv = Annotated[bool, Depends(_wants_csv)]


async def exported(
    here: Visit, name: str, row: type[Shown], page: Page, after: str = ""
) -> Response:
    """The rows from a cursor on, as a file. Faults: those of the first page; `rate_limited` when it is sent."""
    first = await page(Cut(after=after, limit=PAGE_ROWS))
    return Export(here, name, [one for one in row.model_fields if one not in SKIPPED], first, page)


class Export(Response):
    """Sends a page, and reads the next one when the client has taken it."""

    media_type = f"{CSV}; charset=utf-8; header=present"

    def __init__(
        self, here: Visit, name: str, columns: Sequence[str], first: Listed[Any], page: Page
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["content-disposition"] = f'attachment; filename="{name}.csv"'
        self.headers["x-content-type-options"] = "nosniff"
        self._columns = columns
        self._first = first
        self._page = page
        self._turn = here.office.exports.taking(here.who.account)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = asyncio.get_running_loop().create_task(_left(receive))
        try:
            with self._turn:
                await self._told(send, left)
        finally:
            left.cancel()

    async def _told(self, send: Send, left: "asyncio.Task[None]") -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await self._pages(send, left)
        except (Fault, TimeoutError):
            # Without its last piece the answer is broken off, and the client knows that it is not whole.
            return

    async def _pages(self, send: Send, left: "asyncio.Task[None]") -> None:
        page, count, text = self._first, 0, lines([self._columns])
        while True:
            rows = [[cell(getattr(row, name)) for name in self._columns] for row in page.data]
            count += len(rows)
            more = page.next is not None
            async with asyncio.timeout(UNREAD_S):
                await send(
                    {
                        "type": "http.response.body",
                        "body": (text + lines(rows)).encode(),
                        "more_body": True,
                    }
                )
            if left.done() or count > MAX_ROWS:
                return
            if not more:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            page, text = await self._page(Cut(after=page.next or "", limit=PAGE_ROWS)), ""


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def cell(value: Any) -> str:
    """A value as it stands in a file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if NUMBER.fullmatch(text) else FORMULA.sub(_marked, text)


def _marked(found: re.Match[str]) -> str:
    """The apostrophe stands before everything at the beginning of a text, and after the end of a cell."""
    return f"'{found[0]}" if found.start() == 0 else f"{found[0]}'"


def lines(rows: Sequence[Sequence[str]]) -> str:
    """Rows as RFC 4180 writes them."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue()
