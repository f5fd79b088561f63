"""`/v1/account/webhook`, `/v1/account/notices`: where an account is told of low balance and spent budgets, and was."""

from typing import Annotated, Any, Literal

from msgspec.json import decode
from pydantic import Field

from gatewayz.core.webhooks import MAX_URL
from gatewayz.store.sql import webhooks
from gatewayz.store.sql.slices import Cut
from gatewayz.store.sql.webhooks import Wish
from gatewayz.web.api.admin_accounts import Of
from gatewayz.web.api.admin_keys import Account
from gatewayz.web.api.shapes import (
    Done,
    Given,
    Here,
    Id,
    Listed,
    Shown,
    Sliced,
    Usd,
    UsdGiven,
    nanos,
    sliced,
    usd,
)
from gatewayz.web.api.visit import Visit

Url = Annotated[
    str, Field(min_length=1, max_length=MAX_URL, description="https, at a public address")
]
SecretGiven = Annotated[
    str,
    Field(
        max_length=128,
        description="whsec_ and the base64 of 24 to 64 bytes; without it one is made, or stays",
    ),
]
LowBalance = Annotated[
    UsdGiven, Field(description="Below it the account is told; without it never")
]


class WebhookShown(Shown):
    """Where notices go. `secret` is shown in the answer that made it and never again."""

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


class WebhookGiven(Given):
    """A webhook, in the place of the one before."""

    url: Url
    secret: SecretGiven | None = None
    low_balance: LowBalance | None = None


class AnyWebhookGiven(WebhookGiven):
    """A webhook, and whose."""

    account: Id


class NoticeShown(Shown):
    """A notice: what is told (`body`), whether it was taken, and what the last attempt came to.

    `id` is the `webhook-id` of every attempt; `status` is 0 where there was no answer.
    """

    id: str
    object: Literal["notice"] = "notice"
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


class Sent(Shown):
    """A notice that is on its way; `/v1/account/notices` tells what became of it."""

    id: str
    object: Literal["notice"] = "notice"


async def _shown(here: Visit, account: str, secret: str = "") -> WebhookShown:
    found = await webhooks.one(here.database, account)
    low = found.low_balance
    return WebhookShown(
        account=account,
        url=found.url,
        secret=secret or None,
        low_balance=None if low is None else usd(low),
        low_balance_nanos=low,
        waiting=found.waiting,
        failed=found.failed,
        created_ms=found.created_ms,
        changed_ms=found.changed_ms,
    )


async def _put(here: Visit, account: str, given: WebhookGiven) -> WebhookShown:
    low = None if given.low_balance is None else nanos(given.low_balance)
    wish = Wish(url=given.url, secret=given.secret or "", low_balance=low)
    made = await webhooks.put(here.desk, account, wish, private=here.office.private_webhooks)
    return await _shown(here, account, made)


async def _listed(here: Visit, account: str, cut: Cut) -> Listed[NoticeShown]:
    found = await webhooks.notices(here.database, account, cut)
    same = ("id", "kind", "state", "attempts", "status", "why", "created_ms", "ended_ms")
    rows = [
        NoticeShown(
            account=row["account_id"],
            body=decode(row["body"]),
            next_ms=row["next_ms"] if row["state"] == "waiting" else None,
            **{name: row[name] for name in same},
        )
        for row in found.rows
    ]
    return sliced(found, rows)


async def show(here: Here) -> WebhookShown:
    """Where the account's notices go."""
    return await _shown(here, here.who.account)


async def put(here: Here, given: WebhookGiven) -> WebhookShown:
    """Set where notices go, under which secret, and below which balance the account is told."""
    return await _put(here, here.who.account, given)


async def remove(here: Here) -> Done:
    """Send no notices any more."""
    await webhooks.remove(here.desk, here.who.account)
    return Done(id=here.who.account, object="webhook")


async def test(here: Here) -> Sent:
    """Send a notice that says nothing but that it arrives."""
    return Sent(id=await webhooks.test(here.desk, here.who.account))


async def notices(here: Here, cut: Sliced) -> Listed[NoticeShown]:
    """The account's notices and what became of each; the newest first."""
    return await _listed(here, here.who.account, cut)


async def show_any(here: Here, account: Account) -> WebhookShown:
    """Where an account's notices go."""
    return await _shown(here, account)


async def put_any(here: Here, given: AnyWebhookGiven) -> WebhookShown:
    """Set where an account's notices go, under which secret, and below which balance it is told."""
    return await _put(here, given.account, given)


async def remove_any(here: Here, account: Account) -> Done:
    """Send an account no notices any more."""
    await webhooks.remove(here.desk, account)
    return Done(id=account, object="webhook")


async def any_notices(here: Here, cut: Sliced, account: Of = "") -> Listed[NoticeShown]:
    """The notices of an account, or of all, and what became of each; the newest first."""
    return await _listed(here, account, cut)
