"""`/v1/account/usage`, `/admin/usage`: what calls came to, summed by what somebody asks for."""

from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import Field

from gatewayz.control import usage
from gatewayz.control.access import OwnerFilter
from gatewayz.control.context import RequestContext
from gatewayz.control.usage import DIMENSIONS, UsageGroup
from gatewayz.web.api.export import WantsCsv, export_csv
from gatewayz.web.api.shapes import (
    Ctx,
    ListResponse,
    QueryModel,
    ResponseModel,
    Usd,
    full_list_response,
    money_fields,
)

Date = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date"})]


class UsageView(ResponseModel):
    """What the calls of one group came to. What is not summed by is null."""

    day: Annotated[str | None, Field(description="A date, in UTC", examples=["2026-11-28"])] = None
    account: str | None = None
    key: str | None = None
    model: str | None = None
    provider: str | None = None
    end_user: str | None = None
    tag: str | None = None
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: Usd
    cost_nanos: int


class UsageQuery(QueryModel):
    """What to sum by, and over which days: the last thirty unless others are asked for."""

    by: Annotated[
        str,
        Field(
            max_length=128,
            description=f"What to sum by, with commas: {', '.join(DIMENSIONS)}",
            examples=["account,model,day"],
        ),
    ] = "day"
    from_: Annotated[Date, Field(alias="from", description="The first day, such as 2026-11-01")] = (
        ""
    )
    to: Annotated[Date, Field(description="The last day; today without one")] = ""


class AnyUsageQuery(UsageQuery):
    """What to sum by, over which days, and whose."""

    account: Annotated[str, Field(max_length=128, description="Only this account's")] = ""


def usage_view(group: UsageGroup) -> UsageView:
    """One group as it is shown."""
    names: dict[str, Any] = {**group.names}
    return UsageView(
        **names,
        calls=group.calls,
        failed=group.failed,
        input_tokens=group.input_tokens,
        output_tokens=group.output_tokens,
        **money_fields(cost=group.cost),
    )


async def get_usage(
    ctx: Ctx, csv: WantsCsv, query: Annotated[UsageQuery, Query()]
) -> ListResponse[UsageView] | Response:
    """What calls came to, by day, model, provider, key, end user or tag, or several of these."""
    return await _usage_response(ctx, ctx.owner, query, csv=csv)


async def get_any_usage(
    ctx: Ctx, csv: WantsCsv, query: Annotated[AnyUsageQuery, Query()]
) -> ListResponse[UsageView] | Response:
    """What the calls of an account, or of all, came to, by account, model, day and so on."""
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
    by = usage.parse_dimensions(query.by)
    days = usage.parse_days(query.from_, query.to, ctx.now_ms)
    groups = await usage.aggregate_usage(ctx.database, owner, by, days)
    return full_list_response([usage_view(group) for group in groups])
