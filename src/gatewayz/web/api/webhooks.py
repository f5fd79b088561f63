"""Webhooks and notifications, `/v1/account/…` and `/admin/…`: where accounts are notified.

Notifications tell of a low balance and of budgets that are spent; the list tells what became of
each.
"""

from typing import Annotated, Any, Literal

from msgspec.json import decode
from pydantic import Field

from gatewayz.control import webhooks
from gatewayz.control.context import RequestContext
from gatewayz.control.webhooks import WebhookSpec
from gatewayz.core.money import nanos_from_usd
from gatewayz.core.pagination import Cursor
from gatewayz.core.webhooks import MAX_URL
from gatewayz.web.api.shapes import (
    AccountFilter,
    AccountIdQuery,
    Ctx,
    DeleteResponse,
    Id,
    ListResponse,
    PageCursor,
    RequestModel,
    ResponseModel,
    Usd,
    UsdAmount,
    list_response,
    usd_or_none,
)

Url = Annotated[
    str, Field(min_length=1, max_length=MAX_URL, description="https, at a public address")
]
WebhookSecretInput = Annotated[
    str,
    Field(
        max_length=128,
        description="whsec_ and the base64 of 24 to 64 bytes; without it one is made, or stays",
    ),
]
LowBalance = Annotated[
    UsdAmount, Field(description="The account is notified below it; without it never")
]
NOTIFICATION_FIELDS = (
    *("id", "kind", "state", "attempts", "status", "why"),
    *("created_ms", "ended_ms"),
)
"""Those that are shown as the row has them."""


class WebhookView(ResponseModel):
    """Where notifications go. `secret` is shown in the answer that made it and never again."""

    object: Literal["webhook"] = "webhook"
    account: str
    url: str
    secret: str | None = None
    low_balance: Usd | None
    low_balance_nanos: int | None
    waiting: int
    failed: int
    created_ms: int
    changed_ms: int


class PutWebhookRequest(RequestModel):
    """A webhook, in the place of the one before."""

    url: Url
    secret: WebhookSecretInput | None = None
    low_balance: LowBalance | None = None


class PutAnyWebhookRequest(PutWebhookRequest):
    """A webhook, and whose."""

    account: Id


class NotificationView(ResponseModel):
    """A notification: its `body`, whether it was delivered, and how the last attempt ended.

    `id` is the `webhook-id` of every attempt; `status` is 0 where there was no answer.
    """

    id: str
    object: Literal["notification"] = "notification"
    account: str
    kind: str
    body: dict[str, Any]
    state: str
    attempts: int
    next_ms: int | None
    status: int
    why: str
    created_ms: int
    ended_ms: int | None


class NotificationReceipt(ResponseModel):
    """A notification that will be sent; `/v1/account/notifications` tells what became of it."""

    id: str
    object: Literal["notification"] = "notification"


def notification_view(row: dict[str, Any]) -> NotificationView:
    """A notification, a row of the outbox, as it is shown."""
    return NotificationView(
        account=row["account_id"],
        body=decode(row["body"]),
        next_ms=row["next_ms"] if row["state"] == "waiting" else None,
        **{name: row[name] for name in NOTIFICATION_FIELDS},
    )


async def get_webhook(ctx: Ctx) -> WebhookView:
    """Where the account's notifications go."""
    return await _webhook_view(ctx, ctx.account)


async def put_webhook(ctx: Ctx, body: PutWebhookRequest) -> WebhookView:
    """Set where notifications go, their secret, and the low balance that is notified."""
    return await _put_webhook(ctx, ctx.account, body)


async def delete_webhook(ctx: Ctx) -> DeleteResponse:
    """Send no notifications any more."""
    await webhooks.delete_webhook(ctx.transaction, ctx.account)
    return DeleteResponse(id=ctx.account, object="webhook")


async def send_test_notification(ctx: Ctx) -> NotificationReceipt:
    """Send a notification that says nothing but that it arrives."""
    return NotificationReceipt(id=await webhooks.enqueue_test(ctx.transaction, ctx.account))


async def list_notifications(ctx: Ctx, cursor: PageCursor) -> ListResponse[NotificationView]:
    """The account's notifications and what became of each; the newest first."""
    return await _list_notifications(ctx, ctx.account, cursor)


async def get_any_webhook(ctx: Ctx, account: AccountIdQuery) -> WebhookView:
    """Where an account's notifications go."""
    return await _webhook_view(ctx, account)


async def put_any_webhook(ctx: Ctx, body: PutAnyWebhookRequest) -> WebhookView:
    """Set where an account's notifications go, their secret, and its low balance."""
    return await _put_webhook(ctx, body.account, body)


async def delete_any_webhook(ctx: Ctx, account: AccountIdQuery) -> DeleteResponse:
    """Send an account no notifications any more."""
    await webhooks.delete_webhook(ctx.transaction, account)
    return DeleteResponse(id=account, object="webhook")


async def list_any_notifications(
    ctx: Ctx, cursor: PageCursor, account: AccountFilter = ""
) -> ListResponse[NotificationView]:
    """The notifications of an account, or of all, and what became of each; the newest first."""
    return await _list_notifications(ctx, account, cursor)


async def _webhook_view(ctx: RequestContext, account: str, secret: str = "") -> WebhookView:
    webhook = await webhooks.get_webhook(ctx.database, account)
    return WebhookView(
        account=account,
        url=webhook.url,
        secret=secret or None,
        low_balance=usd_or_none(webhook.low_balance),
        low_balance_nanos=webhook.low_balance,
        waiting=webhook.waiting,
        failed=webhook.failed,
        created_ms=webhook.created_ms,
        changed_ms=webhook.changed_ms,
    )


async def _put_webhook(ctx: RequestContext, account: str, body: PutWebhookRequest) -> WebhookView:
    low_balance = None if body.low_balance is None else nanos_from_usd(body.low_balance)
    spec = WebhookSpec(url=body.url, secret=body.secret or "", low_balance=low_balance)
    secret = await webhooks.put_webhook(
        ctx.transaction, account, spec, private=ctx.control.allow_private_webhooks
    )
    return await _webhook_view(ctx, account, secret)


async def _list_notifications(
    ctx: RequestContext, account: str, cursor: Cursor
) -> ListResponse[NotificationView]:
    page = await webhooks.list_notifications(ctx.database, account, cursor)
    return list_response(page, [notification_view(row) for row in page.rows])
