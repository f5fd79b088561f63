"""`/v1/credits`, `/v1/key`, `/v1/generation`: as OpenRouter and Vercel's AI Gateway answer them.

`/v1/credits` has both answers in one object. Money is a JSON number here, as OpenRouter's is,
written from the integer; Vercel's two amounts (`balance`, `total_used`) are text. The handlers
write their own JSON for these numbers; the models only describe it.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Response
from msgspec import Raw

from gatewayz.control import accounts, budgets, calls, keys, usage
from gatewayz.control.calls import CallDetails
from gatewayz.control.context import RequestContext
from gatewayz.core.money import Nanos, usd_text
from gatewayz.dialects.kit.jsontext import encode_json, usd_number
from gatewayz.ledger.values import Budget
from gatewayz.web.api.calls import get_visible_call
from gatewayz.web.api.shapes import Ctx, ResponseModel, Usd

LIMIT_RESETS = {"total": None, "day": "daily", "week": "weekly", "month": "monthly"}


class OpenRouterTotals(ResponseModel):
    """OpenRouter's totals: everything that came in, and everything that was used."""

    total_credits: float
    total_usage: float


class OpenRouterCredits(ResponseModel):
    """OpenRouter's answer and Vercel's in one object."""

    data: OpenRouterTotals
    balance: Usd
    total_used: Usd


class OpenRouterKey(ResponseModel):
    """A key as OpenRouter describes it. `limit` is its budget, `null` without one."""

    label: str
    limit: float | None
    limit_remaining: float | None
    limit_reset: str | None
    usage: float
    usage_daily: float
    usage_weekly: float
    usage_monthly: float
    byok_usage: float
    byok_usage_daily: float
    byok_usage_weekly: float
    byok_usage_monthly: float
    include_byok_in_limit: bool
    is_free_tier: bool
    is_management_key: bool
    is_provisioning_key: bool
    expires_at: str | None
    rate_limit: dict[str, Any]


class OpenRouterKeyResponse(ResponseModel):
    """OpenRouter's envelope."""

    data: OpenRouterKey


class OpenRouterGeneration(ResponseModel):
    """A call as OpenRouter describes it; what is not known here is `null`."""

    data: dict[str, Any]


def _json_response(value: Any) -> Response:
    return Response(encode_json(value), media_type="application/json")


async def get_openrouter_credits(ctx: Ctx) -> Response:
    """What came in and what was used, in the form of OpenRouter and of Vercel."""
    account = await accounts.get_account(ctx.database, ctx.account)
    refunded = await usage.refund_total(ctx.database, account.id)
    used = (await usage.get_spending(ctx.database, account.id, ctx.now_ms)).ever - refunded
    left = 0 if account.billing == "house" else account.paid + account.promo + account.held
    totals = {"total_credits": usd_number(left + used), "total_usage": usd_number(used)}
    return _json_response(
        {
            "data": totals,
            "balance": usd_text(Nanos(left)),
            "total_used": usd_text(Nanos(used)),
        }
    )


async def get_openrouter_key(ctx: Ctx) -> Response:
    """The key of this request: its budget, what it has used, when it expires."""
    principal, now_ms = ctx.principal, ctx.now_ms
    key = await keys.find_key(ctx.database, principal.account, principal.key)
    budget = await _get_key_budget(ctx)
    spending = await usage.get_spending(ctx.database, principal.account, now_ms, principal.key)
    used = {
        "usage": usd_number(spending.ever),
        "usage_daily": usd_number(spending.day),
        "usage_weekly": usd_number(spending.week),
        "usage_monthly": usd_number(spending.month),
    }
    left = None if budget is None else max(budget.limit - budget.spent - budget.held, 0)
    is_management_key = ctx.has_account_scope
    return _json_response(
        {
            "data": {
                # A key of the settings alone has no row, and no name.
                "label": (key.name or key.shown) if key is not None else principal.key,
                "limit": None if budget is None else usd_number(budget.limit),
                "limit_remaining": None if left is None else usd_number(left),
                "limit_reset": None if budget is None else LIMIT_RESETS[budget.period],
                **used,
                **{f"byok_{name}": 0 for name in used},
                "include_byok_in_limit": False,
                "is_free_tier": False,
                "is_management_key": is_management_key,
                "is_provisioning_key": is_management_key,
                "expires_at": _iso_time(key.expires_ms) if key is not None else None,
                "rate_limit": {
                    "requests": -1,
                    "interval": "10s",
                    "note": "This field is deprecated.",
                },
            }
        }
    )


async def get_openrouter_generation(
    ctx: Ctx,
    id: Annotated[
        str, Query(min_length=1, max_length=128, description="Any id that the client saw")
    ],
) -> Response:
    """A call in the form of OpenRouter, by any id that its client saw."""
    call_id = calls.parse_call_id(id)
    details = await get_visible_call(ctx, call_id)
    # OpenRouter knows no call that is running.
    if not details.record:
        raise calls.call_not_found(call_id)
    return _json_response({"data": _generation_fields(details)})


async def _get_key_budget(ctx: RequestContext) -> Budget | None:
    subject = budgets.key_subject(ctx.principal.key)
    rows = await budgets.list_budgets(ctx.database, ctx.account, ctx.now_ms)
    return next((budget for budget in rows if budget.subject == subject), None)


def _iso_time(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}Z"


def _generation_fields(details: CallDetails) -> dict[str, Any]:
    row, used = details.record, details.record["usage"]
    first = row["first_event_ms"]
    cost = usd_number(row["cost"])
    served_by = (attempt for attempt in details.attempts if not attempt["fault"])
    upstream_id = next((attempt["upstream_request"] for attempt in served_by), "")
    return {
        "id": row["id"],
        "upstream_id": upstream_id or None,
        "request_id": row["id"],
        "session_id": row["session_id"] or None,
        "model": row["model"] or row["asked_model"],
        "provider_name": row["provider"] or None,
        "streamed": row["streamed"],
        "cancelled": row["fault"] == "client_gone",
        "finish_reason": row["stop"] or None,
        "native_finish_reason": row["stop"] or None,
        "latency": first,
        "generation_time": None if first is None else row["duration_ms"] - first,
        "tokens_prompt": row["input_tokens"],
        "tokens_completion": row["output_tokens"],
        "native_tokens_prompt": row["input_tokens"],
        "native_tokens_completion": row["output_tokens"],
        "native_tokens_cached": used.get("cache_read", 0),
        "native_tokens_reasoning": used.get("reasoning", 0),
        "native_tokens_completion_images": used.get("images", 0),
        "total_cost": cost,
        "usage": cost,
        "upstream_inference_cost": _upstream_cost(row["upstream_cost"]),
        "cache_discount": None,
        "is_byok": False,
        "service_tier": used.get("service") or None,
        "api_type": row["endpoint"].removeprefix("/v1/"),
        "user": row["end_user"] or None,
        "provider_responses": [
            {
                "provider_name": attempt["provider"],
                "endpoint_id": attempt["upstream_id"],
                "status": attempt["status"],
                "latency": attempt["ended_ms"] - attempt["started_ms"],
                "is_byok": False,
            }
            for attempt in details.attempts
        ],
        "created_at": _iso_time(row["received_ms"]),
    }


def _upstream_cost(text: str) -> Any:
    """The provider's own figure, digit by digit as it sent it."""
    return Raw(text.encode()) if text else None
