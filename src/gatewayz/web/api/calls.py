"""`/v1/calls`, `/admin/calls`: every call, with its attempts, usage, cost and bookings."""

import re
from typing import Annotated, Any, Literal

from fastapi import Query, Response
from msgspec import convert
from pydantic import Field

from gatewayz.control import calls
from gatewayz.control.access import OwnerFilter
from gatewayz.control.calls import CallDetails, CallFilter
from gatewayz.control.context import RequestContext
from gatewayz.core.faults import OWN_WORDS
from gatewayz.core.line_items import LineItem, line_items, usage_from_record
from gatewayz.core.money import Price, cost, usd_from_pico
from gatewayz.core.pagination import Cursor
from gatewayz.web.api.export import WantsCsv, export_csv
from gatewayz.web.api.shapes import (
    After,
    Ctx,
    FromMs,
    Id,
    Limit,
    ListResponse,
    QueryModel,
    ResponseModel,
    UntilMs,
    Usd,
    list_response,
    money_fields,
)
from gatewayz.web.api.transactions import TransactionView, transaction_view

FilterText = Annotated[str, Field(max_length=256)]


class CallView(ResponseModel):
    """A call. `fault` is empty when it was answered; `model` and `provider` are who answered."""

    id: str
    object: Literal["call"] = "call"
    received_ms: int
    endpoint: str
    streamed: bool
    account: str
    key: str
    end_user: str
    session: str
    tags: list[str]
    asked_model: str
    model: str
    provider: str
    status: int
    fault: str
    stop: str
    input_tokens: int
    output_tokens: int
    cost: Usd
    cost_nanos: int
    first_event_ms: int | None
    duration_ms: int


class AttemptView(ResponseModel):
    """One candidate that was tried, in milliseconds since the call came in.

    `fault` is empty when it served.
    """

    number: int
    provider: str
    model: str
    upstream_id: str
    credential: str
    started_ms: int
    first_event_ms: int | None
    ended_ms: int
    status: int
    fault: str
    message: str
    upstream_request: str


class CostLineView(ResponseModel):
    """Units of a bucket, and the price in dollars of one, or of a million of them (`per`)."""

    bucket: str
    units: int
    price: Usd
    per: int
    amount: Usd


class CostBreakdown(ResponseModel):
    """Usage times price: the lines, what is added to their sum, and the cost.

    The cost is rounded up once, to a nano-dollar. `markup_bp` is the account's own where it has
    one. `charged` is false where something else was taken: nothing for an answer that failed or
    was empty, at most the hold of a client that left.
    """

    lines: list[CostLineView]
    sum: Usd
    markup_bp: int
    price_version: str
    price_source: str
    free: bool
    service: str | None
    estimated: bool
    unpriced: bool
    repaired: bool
    charged: bool
    cost: Usd
    cost_nanos: int
    upstream_cost: str | None


class HoldView(ResponseModel):
    """What is reserved for a call that is running."""

    amount: Usd
    amount_nanos: int
    opened_ms: int
    deadline_ms: int


class CallDetail(ResponseModel):
    """All that is known of a call. While it runs, `call` is null and `hold` is what is reserved."""

    id: str
    object: Literal["call.detail"] = "call.detail"
    call: CallView | None
    message: str
    upstream_id: str
    trace: str
    dropped: list[str]
    candidates: list[str]
    attempts: list[AttemptView]
    cost_breakdown: CostBreakdown | None
    held: Usd
    held_nanos: int
    transactions: list[TransactionView]
    hold: HoldView | None


RECORD_FIELDS = (
    *("id", "received_ms", "endpoint", "streamed", "end_user", "tags"),
    *("asked_model", "model", "provider", "status", "fault", "stop"),
    *("input_tokens", "output_tokens", "first_event_ms", "duration_ms"),
)
"""Those that are shown as the record has them."""


def call_view(row: dict[str, Any]) -> CallView:
    """A record as it is shown."""
    return CallView(
        **{name: row[name] for name in RECORD_FIELDS},
        account=row["account_id"],
        key=row["key_id"],
        session=row["session_id"],
        **money_fields(cost=row["cost"]),
    )


def cost_breakdown(row: dict[str, Any]) -> CostBreakdown:
    """How the cost of a record came about."""
    usage, price = usage_from_record(row["usage"]), convert(row["price"], Price)
    items = line_items(usage, price)
    return CostBreakdown(
        lines=[_cost_line_view(item) for item in items],
        sum=usd_from_pico(sum(item.pico for item in items)),
        markup_bp=price.markup_bp,
        price_version=price.version,
        price_source=price.source,
        free=price.free,
        service=usage.service or None,
        estimated=bool(row["estimated"]),
        unpriced=bool(row["unpriced"]),
        repaired=usage.repaired,
        charged=row["cost"] == cost(usage, price),
        upstream_cost=row["upstream_cost"] or None,
        **money_fields(cost=row["cost"]),
    )


def _cost_line_view(item: LineItem) -> CostLineView:
    return CostLineView(
        bucket=item.bucket,
        units=item.units,
        price=item.price_usd,
        per=item.per,
        amount=usd_from_pico(item.pico),
    )


ASKED = re.compile(r": (?:healthy|degraded), rank ")
"""What is noted of a candidate; anything else says why somebody was none."""


def call_detail(call_id: str, details: CallDetails, *, for_operator: bool) -> CallDetail:
    """A call with everything that explains it; why an offer was left out is told to operators."""
    record, hold = details.record, details.hold
    reasons = record.get("reasons", [])
    return CallDetail(
        id=call_id,
        call=call_view(record) if record else None,
        message=record.get("message", ""),
        upstream_id=record.get("upstream_id", ""),
        trace=record.get("trace", ""),
        dropped=record.get("dropped", []),
        candidates=[why for why in reasons if for_operator or ASKED.search(why)],
        attempts=[_attempt_view(row, for_operator=for_operator) for row in details.attempts],
        cost_breakdown=cost_breakdown(record) if record else None,
        transactions=[transaction_view(row) for row in details.transfers],
        hold=_hold_view(hold) if hold is not None else None,
        **money_fields(held=record.get("held", 0)),
    )


def _attempt_view(row: dict[str, Any], *, for_operator: bool) -> AttemptView:
    """An attempt; what its provider said in its own words is told to operators."""
    message = row["message"] if for_operator else row["message"].partition(OWN_WORDS)[0]
    named = {name: row[name] for name in AttemptView.model_fields}
    return AttemptView(**{**named, "message": message})


def _hold_view(row: dict[str, Any]) -> HoldView:
    return HoldView(
        opened_ms=row["opened_ms"],
        deadline_ms=row["deadline_ms"],
        **money_fields(amount=row["promo"] + row["paid"]),
    )


class CallListQuery(QueryModel):
    """Which calls: those that match every field that is set, a page at a time."""

    model: FilterText = ""
    provider: FilterText = ""
    key_id: FilterText = ""
    end_user: FilterText = ""
    session: FilterText = ""
    tag: FilterText = ""
    fault: FilterText = ""
    failed: bool | None = None
    from_ms: FromMs = None
    until_ms: UntilMs = None
    limit: Limit = 100
    after: After = ""

    @property
    def call_filter(self) -> CallFilter:
        """The filter without the page."""
        return CallFilter(
            model=self.model,
            provider=self.provider,
            key_id=self.key_id,
            end_user=self.end_user,
            session_id=self.session,
            tag=self.tag,
            fault=self.fault,
            failed=self.failed,
            from_ms=self.from_ms,
            until_ms=self.until_ms,
        )


class AnyCallListQuery(CallListQuery):
    """Which calls, and whose."""

    account: str = ""


async def list_calls(
    ctx: Ctx, query: Annotated[CallListQuery, Query()], csv: WantsCsv
) -> ListResponse[CallView] | Response:
    """The calls of the account, or those of this person or key; the newest first."""
    return await _calls_response(ctx, ctx.owner, query, csv=csv)


async def list_any_calls(
    ctx: Ctx, query: Annotated[AnyCallListQuery, Query()], csv: WantsCsv
) -> ListResponse[CallView] | Response:
    """The calls of an account, or of all; the newest first."""
    return await _calls_response(ctx, OwnerFilter(query.account), query, csv=csv)


async def _calls_response(
    ctx: RequestContext, owner: OwnerFilter, query: CallListQuery, *, csv: bool
) -> ListResponse[CallView] | Response:
    """Somebody's calls: a page, or all of them as a file."""

    async def fetch_page(cursor: Cursor) -> ListResponse[CallView]:
        page = await calls.list_calls(ctx.database, owner, query.call_filter, cursor)
        return list_response(page, [call_view(row) for row in page.rows])

    if csv:
        return export_csv(ctx, "calls", CallView, fetch_page, query.after)
    return await fetch_page(Cursor(after=query.after, limit=query.limit))


async def get_call(ctx: Ctx, id: Id) -> CallDetail:
    """All that is known of a call, by any id that its client saw (`chatcmpl-…`, `x-request-id`)."""
    call_id = calls.parse_call_id(id)
    details = await get_visible_call(ctx, call_id)
    return call_detail(call_id, details, for_operator="operator" in ctx.principal.scopes)


async def get_any_call(ctx: Ctx, id: Id) -> CallDetail:
    """All that is known of a call of any account, by any id that its client saw."""
    call_id = calls.parse_call_id(id)
    account = await calls.account_of_call(ctx.database, call_id)
    details = await calls.get_call(ctx.database, account, call_id)
    return call_detail(call_id, details, for_operator=True)


async def get_visible_call(ctx: RequestContext, call_id: str) -> CallDetails:
    """A call that the caller may see. Faults: `not_found`, also for somebody else's."""
    details = await calls.get_call(ctx.database, ctx.account, call_id)
    if ctx.has_account_scope or await calls.is_call_of(ctx.database, ctx.owner, call_id):
        return details
    raise calls.call_not_found(call_id)
