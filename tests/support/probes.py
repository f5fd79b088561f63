"""A request for every route of the control plane: valid, aimed at a thing that is made for it."""

import re
from typing import Any, NamedTuple

from gatewayz.core.calls import new_ulid
from gatewayz.core.money import Nanos
from gatewayz.store.sql import budgets, keys, tokens, users, webhooks
from tests.support.control import Place


class Probe(NamedTuple):
    """`thing` is what `ID` in path, query and body stands for; nothing when the route is about whoever asks.

    `own` is what whoever asks must have.
    """

    thing: str = ""
    query: str = ""
    body: Any = None
    own: str = ""


OFFER = {"provider": "first", "upstream_id": "hello"}
PROBES = {
    ("GET", "/v1/account"): Probe(),
    ("GET", "/v1/account/usage"): Probe(query="?by=key"),
    ("GET", "/v1/account/transactions"): Probe(),
    ("GET", "/v1/account/budgets"): Probe(),
    ("PUT", "/v1/account/budgets"): Probe("key", body={"key_id": "ID", "limit": "1"}),
    ("DELETE", "/v1/account/budgets"): Probe("budget", query="?key_id=ID"),
    ("GET", "/v1/account/webhook"): Probe(own="webhook"),
    ("PUT", "/v1/account/webhook"): Probe(body={"url": "https://hooks.example/NEW"}),
    ("DELETE", "/v1/account/webhook"): Probe(own="webhook"),
    ("POST", "/v1/account/webhook/test"): Probe(own="webhook"),
    ("GET", "/v1/account/notices"): Probe(),
    ("GET", "/v1/keys"): Probe(),
    ("POST", "/v1/keys"): Probe(body={"name": "made"}),
    ("GET", "/v1/keys/{id}"): Probe("key"),
    ("PATCH", "/v1/keys/{id}"): Probe("key", body={"name": "changed"}),
    ("DELETE", "/v1/keys/{id}"): Probe("key"),
    ("POST", "/v1/keys/{id}/rotate"): Probe("key", body={}),
    ("GET", "/v1/tokens"): Probe(),
    ("POST", "/v1/tokens"): Probe(body={"origins": ["https://app.example.com"]}),
    ("DELETE", "/v1/tokens/{id}"): Probe("token"),
    ("GET", "/v1/calls"): Probe(),
    ("GET", "/v1/calls/{id}"): Probe("call"),
    ("GET", "/v1/credits"): Probe(),
    ("GET", "/v1/key"): Probe(),
    ("GET", "/v1/generation"): Probe("call", query="?id=ID"),
    ("GET", "/admin/accounts"): Probe(),
    ("POST", "/admin/accounts"): Probe(body={"name": "made"}),
    ("GET", "/admin/accounts/{id}"): Probe("account"),
    ("PATCH", "/admin/accounts/{id}"): Probe("account", body={"name": "changed"}),
    ("GET", "/admin/users"): Probe(),
    ("POST", "/admin/users"): Probe("account", body={"account": "ID", "email": "NEW@example.com"}),
    ("GET", "/admin/users/{id}"): Probe("user"),
    ("PATCH", "/admin/users/{id}"): Probe("user", body={"role": "admin"}),
    ("GET", "/admin/keys"): Probe(),
    ("POST", "/admin/keys"): Probe("account", body={"account": "ID"}),
    ("GET", "/admin/keys/{id}"): Probe("key"),
    ("PATCH", "/admin/keys/{id}"): Probe("key", body={"name": "changed"}),
    ("DELETE", "/admin/keys/{id}"): Probe("key"),
    ("POST", "/admin/keys/{id}/rotate"): Probe("key", body={}),
    ("GET", "/admin/budgets"): Probe("account", query="?account=ID"),
    ("PUT", "/admin/budgets"): Probe("account", body={"account": "ID", "limit": "1000"}),
    ("DELETE", "/admin/budgets"): Probe("account budget", query="?account=ID"),
    ("GET", "/admin/webhooks"): Probe("account webhook", query="?account=ID"),
    ("PUT", "/admin/webhooks"): Probe(
        "account", body={"account": "ID", "url": "https://hooks.example/NEW"}
    ),
    ("DELETE", "/admin/webhooks"): Probe("account webhook", query="?account=ID"),
    ("GET", "/admin/notices"): Probe(),
    ("GET", "/admin/credits"): Probe("account", query="?account=ID"),
    ("POST", "/admin/credits/topup"): Probe("account", body={"account": "ID", "amount": "1"}),
    ("POST", "/admin/credits/grant"): Probe("account", body={"account": "ID", "amount": "1"}),
    ("POST", "/admin/credits/adjust"): Probe(
        "account", body={"account": "ID", "amount": "1", "why": "A test"}
    ),
    ("POST", "/admin/credits/refund"): Probe(
        "paid call", body={"call": "ID", "amount": "0.000000001"}
    ),
    ("GET", "/admin/credits/check"): Probe(),
    ("GET", "/admin/transactions"): Probe(),
    ("GET", "/admin/usage"): Probe(query="?by=key"),
    ("GET", "/admin/models"): Probe(),
    ("PUT", "/admin/models"): Probe(body={"id": "made/NEW"}),
    ("DELETE", "/admin/models"): Probe(query="?id=made/NEW"),
    ("PUT", "/admin/offers"): Probe(body={"model": "made/here", **OFFER}),
    ("GET", "/admin/prices"): Probe(query="?provider=first&upstream_id=hello"),
    ("POST", "/admin/prices"): Probe(body={**OFFER, "price": {"input": "1", "output": "1"}}),
    ("DELETE", "/admin/prices"): Probe(query="?provider=first&upstream_id=hello"),
    ("GET", "/admin/providers"): Probe(),
    ("GET", "/admin/calls"): Probe(),
    ("GET", "/admin/calls/{id}"): Probe("call"),
    ("GET", "/admin/audit"): Probe(),
    ("GET", "/admin/audit/verify"): Probe(),
    ("GET", "/openapi.json"): Probe(),
    ("GET", "/docs"): Probe(),
    ("GET", "/docs/style.css"): Probe(),
}


class Things:
    """Makes what a probe is aimed at. `calls` are those of an account, and of a person or a key."""

    def __init__(self, there: Place) -> None:
        self.desk = there.desk
        self.calls: dict[tuple[str, str], str] = {}

    async def made(self, kind: str, account: str, user: str) -> str:
        match kind:
            case "key":
                return (await keys.make(self.desk, keys.Wish(account=account, user=user)))[1].id
            case "token":
                key = await self.made("key", account, user)
                return (
                    await tokens.mint(
                        self.desk,
                        tokens.TokenWish(
                            account=account, key=key, origins=("https://app.example.com",)
                        ),
                    )
                )[1].id
            case "budget":
                key = await self.made("key", account, user)
                await budgets.put(
                    self.desk,
                    account,
                    budgets.of_key(key),
                    budgets.Limit(amount=Nanos(1), period="day"),
                )
                return key
            case "account":
                return account
            case "account budget":
                limit = budgets.Limit(amount=Nanos(10**15), period="day")
                await budgets.put(self.desk, account, budgets.of_account(account), limit)
                return account
            case "webhook" | "account webhook":
                await webhooks.put(
                    self.desk, account, webhooks.Wish(url="https://hooks.example/"), private=False
                )
                return account
            case "user":
                return (
                    await users.create(self.desk, account, f"{new_ulid()}@example.com", "member")
                ).id
            case "call":
                return self.calls[account, user]
            case "paid call":
                return self.calls["other" if account == "house" else account, ""]
        raise AssertionError(kind)

    async def none(self, kind: str) -> str:
        """A name that nothing has."""
        return "nobody" if kind.startswith("account") else new_ulid()


def aimed(path: str, probe: Probe, thing: str) -> tuple[str, Any]:
    """The request's path with its query, and its body."""
    names = {"ID": thing, "NEW": new_ulid().lower()}

    def named(text: str) -> str:
        # In one go: an id may spell any of these words.
        return re.sub("ID|NEW", lambda found: names[found[0]], text)

    body = probe.body
    if body is not None:
        body = {
            name: named(value) if isinstance(value, str) else value for name, value in body.items()
        }
    return path.replace("{id}", thing) + named(probe.query), body
