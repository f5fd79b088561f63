"""`/v1/account/usage`, `/admin/usage`: what calls came to, summed by what somebody asks for."""

from typing import Annotated

from fastapi import Query, Response
from pydantic import Field

from gatewayz.control import usage
from gatewayz.control.access import OwnerFilter
from gatewayz.control.context import RequestContext
from gatewayz.control.usage import TimeRange, UsageGroup, UsageGroupBy
from gatewayz.core.clock import DAY_MS
from gatewayz.web.api.export import WantsCsv, export_csv
from gatewayz.web.api.shapes import (
    Ctx,
    FromMs,
    ListResponse,
    QueryModel,
    ResponseModel,
    UntilMs,
    Usd,
    full_list_response,
    money_fields,
)

DEFAULT_DAYS = 30


class UsageView(ResponseModel):
    """What the calls of one group came to."""

    name: str
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: Usd
    cost_nanos: int


class UsageQuery(QueryModel):
    """What to sum by, and over which time: the last thirty days unless something else is asked."""

    by: Annotated[UsageGroupBy, Field(description="What to sum by")] = "day"
    from_ms: FromMs = None
    until_ms: UntilMs = None

    def time_range(self, now_ms: int) -> TimeRange:
        """The time that is asked for. Without an end it includes the calls of this millisecond."""
        until_ms = now_ms + 1 if self.until_ms is None else self.until_ms
        if self.from_ms is not None:
            return TimeRange(self.from_ms, until_ms)
        return TimeRange(max(until_ms - DEFAULT_DAYS * DAY_MS, 0), until_ms)


class AnyUsageQuery(UsageQuery):
    """What to sum by, over which time, and whose."""

    account: Annotated[str, Field(max_length=128, description="Only this account's")] = ""


def usage_view(group: UsageGroup) -> UsageView:
    """One group as it is shown."""
    return UsageView(
        name=group.name,
        calls=group.calls,
        failed=group.failed,
        input_tokens=group.input_tokens,
        output_tokens=group.output_tokens,
        **money_fields(cost=group.cost),
    )


async def get_usage(
    ctx: Ctx, csv: WantsCsv, query: Annotated[UsageQuery, Query()]
) -> ListResponse[UsageView] | Response:
    """What calls came to, by day, model, provider, key, end user or tag."""
    return await _usage_response(ctx, ctx.owner, query, csv=csv)


async def get_any_usage(
    ctx: Ctx, csv: WantsCsv, query: Annotated[AnyUsageQuery, Query()]
) -> ListResponse[UsageView] | Response:
    """What the calls of an account, or of all, came to, by day, model, provider, key and so on."""
    return await _usage_response(ctx, OwnerFilter(query.account), query, csv=csv)


async def _usage_response(
    ctx: RequestContext, owner: OwnerFilter, query: UsageQuery, *, csv: bool
) -> ListResponse[UsageView] | Response:
    """Somebody's usage, as a list or as a file."""
    if csv:
        return export_csv(ctx, "usage", UsageView, lambda _: _list_usage(ctx, owner, query))
    return await _list_usage(ctx, owner, query)


async def _list_usage(
    ctx: RequestContext, owner: OwnerFilter, query: UsageQuery
) -> ListResponse[UsageView]:
    groups = await usage.aggregate_usage(
        ctx.database, owner, query.by, query.time_range(ctx.now_ms)
    )
    return full_list_response([usage_view(group) for group in groups])
