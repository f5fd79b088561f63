"""`/v1/account/transactions`, `/admin/transactions`: what was booked, transfer by transfer."""

from typing import Any, Literal

from fastapi import Response

from gatewayz.control import transfers
from gatewayz.control.context import RequestContext
from gatewayz.core.pagination import Cursor
from gatewayz.web.api.export import WantsCsv, export_csv
from gatewayz.web.api.shapes import (
    AccountFilter,
    Ctx,
    ListResponse,
    PageCursor,
    ResponseModel,
    Usd,
    list_response,
    money_fields,
)


class TransactionView(ResponseModel):
    """One movement of money between two accounts of the ledger."""

    id: str
    object: Literal["transaction"] = "transaction"
    at_ms: int
    kind: str
    debit: str
    credit: str
    amount: Usd
    amount_nanos: int
    call: str | None
    note: str


def transaction_view(row: dict[str, Any]) -> TransactionView:
    """A transfer, a row of the ledger, as it is shown."""
    return TransactionView(
        id=row["id"],
        at_ms=row["at_ms"],
        kind=row["kind"],
        debit=row["debit"],
        credit=row["credit"],
        call=row["call_id"] or None,
        note=row["note"],
        **money_fields(amount=row["amount"]),
    )


async def list_transactions(
    ctx: Ctx, cursor: PageCursor, csv: WantsCsv
) -> ListResponse[TransactionView] | Response:
    """What was booked, the newest first."""
    return await _transactions_response(ctx, ctx.account, cursor, csv=csv)


async def list_any_transactions(
    ctx: Ctx, cursor: PageCursor, csv: WantsCsv, account: AccountFilter = ""
) -> ListResponse[TransactionView] | Response:
    """What was booked for an account, or for all; the newest first."""
    return await _transactions_response(ctx, account, cursor, csv=csv)


async def _transactions_response(
    ctx: RequestContext, account: str, cursor: Cursor, *, csv: bool
) -> ListResponse[TransactionView] | Response:
    """What was booked for an account, or for all if it is empty: a page, or all as a file."""

    async def fetch_page(page_cursor: Cursor) -> ListResponse[TransactionView]:
        page = await transfers.list_transfers(ctx.database, account, page_cursor)
        return list_response(page, [transaction_view(row) for row in page.rows])

    if csv:
        return export_csv(ctx, "transactions", TransactionView, fetch_page, cursor.after)
    return await fetch_page(cursor)
