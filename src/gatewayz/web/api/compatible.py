"""`/v1/credits`, `/v1/key`, `/v1/generation`: what clients of OpenRouter and of Vercel's AI Gateway ask for.

Money is a JSON number here, as theirs is, written from the integer; Vercel's two amounts are text.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Response
from msgspec import Raw

from gatewayz.dialects.jsontext import encoded, usd_number
from gatewayz.store.sql import accounts, budgets, calls, keys, usage
from gatewayz.store.sql.calls import Story
from gatewayz.web.api.shapes import Here, Shown, Usd, usd

RESETS = {"total": None, "day": "daily", "week": "weekly", "month": "monthly"}


class Totals(Shown):
    """OpenRouter's: everything that came in, and everything that was used."""

    total_credits: float
    total_usage: float


class Credits(Shown):
    """OpenRouter's answer and Vercel's in one object."""

    data: Totals
    balance: Usd
    total_used: Usd


class KeyTold(Shown):
    """What OpenRouter says of a key. `limit` is its budget, `null` without one."""

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


class KeyInfo(Shown):
    """OpenRouter's envelope."""

    data: KeyTold


class Generation(Shown):
    """A call as OpenRouter tells it; what it cannot know here is `null`."""

    data: dict[str, Any]


ANSWERS = {"credits": Credits, "key": KeyInfo, "generation": Generation}
"""What each operation answers with: they write their own JSON, for its numbers."""


def _json(value: Any) -> Response:
    return Response(encoded(value), media_type="application/json")


async def credits(here: Here) -> Response:
    """What came in and what was used, as OpenRouter and Vercel tell it."""
    account = await accounts.one(here.database, here.who.account)
    back = await usage.given_back(here.database, account.id)
    used = (await usage.spent(here.database, account.id, here.now_ms)).ever - back
    left = 0 if account.billing == "house" else account.paid + account.promo + account.held
    totals = {"total_credits": usd_number(left + used), "total_usage": usd_number(used)}
    return _json({"data": totals, "balance": usd(left), "total_used": usd(used)})


async def key(here: Here) -> Response:
    """The key that asks, as OpenRouter tells it: its budget, what it has used, when it ends."""
    who, now = here.who, here.now_ms
    own = await keys.find(here.database, who.account, who.key)
    subject = budgets.of_key(who.key)
    budget = next(
        (
            one
            for one in await budgets.listed(here.database, who.account, now)
            if one.subject == subject
        ),
        None,
    )
    found = await usage.spent(here.database, who.account, now, who.key)
    sums = {
        "usage": found.ever,
        "usage_daily": found.day,
        "usage_weekly": found.week,
        "usage_monthly": found.month,
    }
    spent = {name: usd_number(nanos) for name, nanos in sums.items()}
    manages = "account" in who.scopes or "operator" in who.scopes
    left = None if budget is None else usd_number(max(budget.limit - budget.spent - budget.held, 0))
    return _json(
        {
            "data": {
                "label": (own.name or own.shown) if own is not None else who.key,
                "limit": None if budget is None else usd_number(budget.limit),
                "limit_remaining": left,
                "limit_reset": None if budget is None else RESETS[budget.period],
                **spent,
                **{f"byok_{name}": 0 for name in spent},
                "include_byok_in_limit": False,
                "is_free_tier": False,
                "is_management_key": manages,
                "is_provisioning_key": manages,
                "expires_at": _time(own.expires_ms) if own is not None else None,
                "rate_limit": {
                    "requests": -1,
                    "interval": "10s",
                    "note": "This field is deprecated.",
                },
            }
        }
    )


def _time(at_ms: int | None) -> str | None:
    return (
        None if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}Z"
    )


async def generation(
    here: Here,
    id: Annotated[
        str, Query(min_length=1, max_length=128, description="Any id that the client saw")
    ],
) -> Response:
    """A call as OpenRouter tells it, by any id that its client saw."""
    call_id = calls.call_id_of(id)
    story = await calls.story(here.database, here.who.account, call_id)
    if not story.record or not (
        here.keeps_account or await calls.is_of(here.database, here.whose, call_id)
    ):
        raise calls.unknown(call_id)
    return _json({"data": _told(story)})


def _told(story: Story) -> dict[str, Any]:
    row, used = story.record, story.record["usage"]
    first = row["first_event_ms"]
    cost = usd_number(row["cost"])
    return {
        "id": row["id"],
        "upstream_id": next(
            (one["upstream_request"] for one in story.attempts if not one["fault"]), ""
        )
        or None,
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
        "upstream_inference_cost": _upstream(row["upstream_cost"]),
        "cache_discount": None,
        "is_byok": False,
        "service_tier": used.get("service") or None,
        "api_type": row["endpoint"].removeprefix("/v1/"),
        "user": row["end_user"] or None,
        "provider_responses": [
            {
                "provider_name": one["provider"],
                "endpoint_id": one["upstream_id"],
                "status": one["status"],
                "latency": one["ended_ms"] - one["started_ms"],
                "is_byok": False,
            }
            for one in story.attempts
        ],
        "created_at": _time(row["received_ms"]),
    }


def _upstream(text: str) -> Any:
    """What the provider said that it cost, as it said it."""
    return Raw(text.encode()) if text else None
