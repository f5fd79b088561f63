"""A request for every route of the control plane: valid, for a resource that is made for it."""

import re
from typing import Any, NamedTuple

from msgspec.structs import replace

from gatewayz.control import budgets, keys, overrides, provider_keys, tokens, users, webhooks
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.calls import new_ulid
from gatewayz.core.money import Nanos
from gatewayz.providers.registry import provider_rows, providers_from
from tests.support.prices import price_from_usd


class RouteRequest(NamedTuple):
    """A valid request. `resource` is the kind of thing whose id stands for `ID` in path, query and body.

    It is empty if the route is about the caller. `prerequisite` is a kind of which the caller must have one.
    """

    resource: str = ""
    query: str = ""
    body: Any = None
    prerequisite: str = ""


OFFER = {"provider": "first", "upstream_id": "hello"}
ROUTE_REQUESTS = {
    ("GET", "/v1/account"): RouteRequest(),
    ("GET", "/v1/account/usage"): RouteRequest(query="?by=key"),
    ("GET", "/v1/account/transactions"): RouteRequest(),
    ("GET", "/v1/account/budgets"): RouteRequest(),
    ("PUT", "/v1/account/budgets"): RouteRequest("key", body={"key_id": "ID", "limit": "1"}),
    ("DELETE", "/v1/account/budgets"): RouteRequest("budget", query="?key_id=ID"),
    ("GET", "/v1/account/webhook"): RouteRequest(prerequisite="webhook"),
    ("PUT", "/v1/account/webhook"): RouteRequest(body={"url": "https://hooks.example/NEW"}),
    ("DELETE", "/v1/account/webhook"): RouteRequest(prerequisite="webhook"),
    ("POST", "/v1/account/webhook/test"): RouteRequest(prerequisite="webhook"),
    ("GET", "/v1/account/notifications"): RouteRequest(),
    ("GET", "/v1/keys"): RouteRequest(),
    ("POST", "/v1/keys"): RouteRequest(body={"name": "made"}),
    ("GET", "/v1/keys/{id}"): RouteRequest("key"),
    ("PATCH", "/v1/keys/{id}"): RouteRequest("key", body={"name": "changed"}),
    ("DELETE", "/v1/keys/{id}"): RouteRequest("key"),
    ("POST", "/v1/keys/{id}/rotate"): RouteRequest("key", body={}),
    ("GET", "/v1/tokens"): RouteRequest(),
    ("POST", "/v1/tokens"): RouteRequest(body={"origins": ["https://app.example.com"]}),
    ("DELETE", "/v1/tokens/{id}"): RouteRequest("token"),
    ("GET", "/v1/calls"): RouteRequest(),
    ("GET", "/v1/calls/{id}"): RouteRequest("call"),
    ("GET", "/v1/credits"): RouteRequest(),
    ("GET", "/v1/key"): RouteRequest(),
    ("GET", "/v1/generation"): RouteRequest("call", query="?id=ID"),
    ("GET", "/admin/accounts"): RouteRequest(),
    ("POST", "/admin/accounts"): RouteRequest(body={"name": "made"}),
    ("GET", "/admin/accounts/{id}"): RouteRequest("account"),
    ("PATCH", "/admin/accounts/{id}"): RouteRequest("account", body={"name": "changed"}),
    ("GET", "/admin/users"): RouteRequest(),
    ("POST", "/admin/users"): RouteRequest(
        "account", body={"account": "ID", "email": "NEW@example.com"}
    ),
    ("GET", "/admin/users/{id}"): RouteRequest("user"),
    ("PATCH", "/admin/users/{id}"): RouteRequest("user", body={"role": "admin"}),
    ("GET", "/admin/keys"): RouteRequest(),
    ("POST", "/admin/keys"): RouteRequest("account", body={"account": "ID"}),
    ("GET", "/admin/keys/{id}"): RouteRequest("key"),
    ("PATCH", "/admin/keys/{id}"): RouteRequest("key", body={"name": "changed"}),
    ("DELETE", "/admin/keys/{id}"): RouteRequest("key"),
    ("POST", "/admin/keys/{id}/rotate"): RouteRequest("key", body={}),
    ("GET", "/admin/budgets"): RouteRequest("account", query="?account=ID"),
    ("PUT", "/admin/budgets"): RouteRequest("account", body={"account": "ID", "limit": "1000"}),
    ("DELETE", "/admin/budgets"): RouteRequest("account budget", query="?account=ID"),
    ("GET", "/admin/webhooks"): RouteRequest("account webhook", query="?account=ID"),
    ("PUT", "/admin/webhooks"): RouteRequest(
        "account", body={"account": "ID", "url": "https://hooks.example/NEW"}
    ),
    ("DELETE", "/admin/webhooks"): RouteRequest("account webhook", query="?account=ID"),
    ("GET", "/admin/notifications"): RouteRequest(),
    ("GET", "/admin/credits"): RouteRequest("account", query="?account=ID"),
    ("POST", "/admin/credits/topup"): RouteRequest(
        "account", body={"account": "ID", "amount": "1"}
    ),
    ("POST", "/admin/credits/grant"): RouteRequest(
        "account", body={"account": "ID", "amount": "1"}
    ),
    ("POST", "/admin/credits/adjust"): RouteRequest(
        "account", body={"account": "ID", "amount": "1", "why": "A test"}
    ),
    ("POST", "/admin/credits/refund"): RouteRequest(
        "paid call", body={"call": "ID", "amount": "0.000000001"}
    ),
    ("GET", "/admin/credits/check"): RouteRequest(),
    ("GET", "/admin/transactions"): RouteRequest(),
    ("GET", "/admin/usage"): RouteRequest(query="?by=key"),
    ("GET", "/admin/models"): RouteRequest(),
    ("PUT", "/admin/models"): RouteRequest(body={"id": "made/NEW"}),
    ("DELETE", "/admin/models"): RouteRequest(query="?id=made/NEW"),
    ("PUT", "/admin/offers"): RouteRequest(body={"model": "made/here", **OFFER}),
    ("GET", "/admin/prices"): RouteRequest(query="?provider=first&upstream_id=hello"),
    ("POST", "/admin/prices"): RouteRequest(body={**OFFER, "price": {"input": "1", "output": "1"}}),
    ("DELETE", "/admin/prices"): RouteRequest(
        query="?provider=first&upstream_id=hello", prerequisite="price"
    ),
    ("GET", "/admin/providers"): RouteRequest(),
    ("GET", "/admin/providers/{id}"): RouteRequest("provider"),
    ("PATCH", "/admin/providers/{id}"): RouteRequest("provider", body={"enabled": True}),
    ("GET", "/admin/provider-keys"): RouteRequest(),
    ("POST", "/admin/provider-keys"): RouteRequest(body={"provider": "cohere", "key": "key-NEW"}),
    ("DELETE", "/admin/provider-keys/{id}"): RouteRequest("provider key"),
    ("GET", "/admin/calls"): RouteRequest(),
    ("GET", "/admin/calls/{id}"): RouteRequest("call"),
    ("GET", "/admin/audit"): RouteRequest(),
    ("GET", "/admin/audit/verify"): RouteRequest(),
    ("GET", "/openapi.json"): RouteRequest(),
    ("GET", "/docs"): RouteRequest(),
    ("GET", "/docs/start.js"): RouteRequest(),
    ("GET", "/docs/swagger-ui.css"): RouteRequest(),
    ("GET", "/docs/swagger-ui-bundle.js"): RouteRequest(),
}


class ResourceFactory:
    """Makes the resource of a request. `calls` are the ids of calls by account and by person or key."""

    def __init__(self, transaction: ControlTransaction) -> None:
        self.transaction = transaction
        self.calls: dict[tuple[str, str], str] = {}

    async def create(self, kind: str, account: str, user: str) -> str:
        match kind:
            case "key":
                return (
                    await keys.create_key(
                        self.transaction, keys.KeySpec(account=account, user=user)
                    )
                )[1].id
            case "token":
                key = await self.create("key", account, user)
                return (
                    await tokens.create_token(
                        self.transaction,
                        tokens.TokenSpec(
                            account=account, key=key, origins=("https://app.example.com",)
                        ),
                    )
                )[1].id
            case "budget":
                key = await self.create("key", account, user)
                # The account's own: what an operator set only an operator takes away.
                await budgets.put_budget(
                    replace(self.transaction, actor=f"key:{key}"),
                    account,
                    budgets.key_subject(key),
                    budgets.BudgetLimit(amount=Nanos(1), period="day"),
                )
                return key
            case "price":
                price = price_from_usd({"input": "1", "output": "1"})
                await overrides.set_price(self.transaction, ("first", "hello"), price)
                return ""
            case "provider":
                return "groq"
            case "provider key":
                provider = providers_from(provider_rows(), {}, {})["groq"]
                return (
                    await provider_keys.put_provider_key(
                        self.transaction, provider, "gsk_secret", weight=1, beside=False
                    )
                ).id
            case "account":
                return account
            case "account budget":
                limit = budgets.BudgetLimit(amount=Nanos(10**15), period="day")
                await budgets.put_budget(
                    self.transaction, account, budgets.account_subject(account), limit
                )
                return account
            case "webhook" | "account webhook":
                await webhooks.put_webhook(
                    self.transaction,
                    account,
                    webhooks.WebhookSpec(url="https://hooks.example/"),
                    private=False,
                )
                return account
            case "user":
                return (
                    await users.create_user(
                        self.transaction, account, f"{new_ulid()}@example.com", "member"
                    )
                ).id
            case "call":
                return self.calls[account, user]
            case "paid call":
                return self.calls["other" if account == "house" else account, ""]
        raise AssertionError(kind)

    async def missing_id(self, kind: str) -> str:
        """An id that no resource has."""
        return "nobody" if kind.startswith("account") else new_ulid()


def render_request(path: str, request: RouteRequest, resource_id: str) -> tuple[str, Any]:
    """The request's path with its query, and its body."""
    names = {"ID": resource_id, "NEW": new_ulid().lower()}

    def fill(text: str) -> str:
        # In one go: an id may spell any of these words.
        return re.sub("ID|NEW", lambda match: names[match[0]], text)

    body = request.body
    if body is not None:
        body = {
            name: fill(value) if isinstance(value, str) else value for name, value in body.items()
        }
    return path.replace("{id}", resource_id) + fill(request.query), body
