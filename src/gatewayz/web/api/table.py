"""The control plane's routes: where each is, who may call it, what serves it. Nothing is reachable without a row.

`{id}` stands for one segment of a path: letters, digits, `-` and `_`, nothing that is spelled in another way.
"""

import re

from msgspec import Struct

from gatewayz.core.access import Access

SEGMENT = rb"[0-9A-Za-z_-]{1,128}"


class Row(Struct, frozen=True):
    """One operation. `serves` is a function of a module beside this one."""

    method: str
    path: str
    access: Access
    serves: str
    once: bool = False
    """Spends or creates: an `Idempotency-Key` makes it happen once."""

    @property
    def pattern(self) -> re.Pattern[bytes] | None:
        """What its paths look like, byte for byte; nothing when there is only one."""
        if "{" not in self.path:
            return None
        parts = (
            SEGMENT if part.startswith("{") else re.escape(part).encode()
            for part in self.path.split("/")
        )
        return re.compile(b"/".join(parts))


ROWS = (
    Row("GET", "/v1/account", "member", "account.show"),
    Row("GET", "/v1/account/usage", "member", "account.usage_by"),
    Row("GET", "/v1/account/transactions", "account", "account.transactions"),
    Row("GET", "/v1/account/budgets", "member", "account.list_budgets"),
    Row("PUT", "/v1/account/budgets", "account", "account.put_budget"),
    Row("DELETE", "/v1/account/budgets", "account", "account.remove_budget"),
    Row("GET", "/v1/account/webhook", "account", "webhooks.show"),
    Row("PUT", "/v1/account/webhook", "account", "webhooks.put"),
    Row("DELETE", "/v1/account/webhook", "account", "webhooks.remove"),
    Row("POST", "/v1/account/webhook/test", "account", "webhooks.test", once=True),
    Row("GET", "/v1/account/notices", "account", "webhooks.notices"),
    Row("GET", "/v1/keys", "member", "keys.several"),
    Row("POST", "/v1/keys", "account", "keys.create", once=True),
    Row("GET", "/v1/keys/{id}", "member", "keys.show"),
    Row("PATCH", "/v1/keys/{id}", "account", "keys.change"),
    Row("DELETE", "/v1/keys/{id}", "account", "keys.revoke"),
    Row("POST", "/v1/keys/{id}/rotate", "account", "keys.rotate", once=True),
    Row("GET", "/v1/tokens", "member", "tokens.several"),
    Row("POST", "/v1/tokens", "minting", "tokens.mint", once=True),
    Row("DELETE", "/v1/tokens/{id}", "member", "tokens.revoke"),
    Row("GET", "/v1/calls", "member", "calls.several"),
    Row("GET", "/v1/calls/{id}", "member", "calls.show"),
    Row("GET", "/v1/credits", "member", "compatible.credits"),
    Row("GET", "/v1/key", "member", "compatible.key"),
    Row("GET", "/v1/generation", "member", "compatible.generation"),
    Row("GET", "/admin/accounts", "operator", "admin_accounts.several"),
    Row("POST", "/admin/accounts", "operator", "admin_accounts.create", once=True),
    Row("GET", "/admin/accounts/{id}", "operator", "admin_accounts.show"),
    Row("PATCH", "/admin/accounts/{id}", "operator", "admin_accounts.change"),
    Row("GET", "/admin/users", "operator", "admin_accounts.people"),
    Row("POST", "/admin/users", "operator", "admin_accounts.add_person", once=True),
    Row("GET", "/admin/users/{id}", "operator", "admin_accounts.person"),
    Row("PATCH", "/admin/users/{id}", "operator", "admin_accounts.change_person"),
    Row("GET", "/admin/keys", "operator", "admin_keys.several"),
    Row("POST", "/admin/keys", "operator", "admin_keys.create", once=True),
    Row("GET", "/admin/keys/{id}", "operator", "admin_keys.show"),
    Row("PATCH", "/admin/keys/{id}", "operator", "admin_keys.change"),
    Row("DELETE", "/admin/keys/{id}", "operator", "admin_keys.revoke"),
    Row("POST", "/admin/keys/{id}/rotate", "operator", "admin_keys.rotate", once=True),
    Row("GET", "/admin/budgets", "operator", "admin_keys.list_budgets"),
    Row("PUT", "/admin/budgets", "operator", "admin_keys.put_budget"),
    Row("DELETE", "/admin/budgets", "operator", "admin_keys.remove_budget"),
    Row("GET", "/admin/webhooks", "operator", "webhooks.show_any"),
    Row("PUT", "/admin/webhooks", "operator", "webhooks.put_any"),
    Row("DELETE", "/admin/webhooks", "operator", "webhooks.remove_any"),
    Row("GET", "/admin/notices", "operator", "webhooks.any_notices"),
    Row("GET", "/admin/credits", "operator", "admin_money.show"),
    Row("POST", "/admin/credits/topup", "operator", "admin_money.topup", once=True),
    Row("POST", "/admin/credits/grant", "operator", "admin_money.grant", once=True),
    Row("POST", "/admin/credits/adjust", "operator", "admin_money.adjust", once=True),
    Row("POST", "/admin/credits/refund", "operator", "admin_money.refund", once=True),
    Row("GET", "/admin/credits/check", "operator", "admin_money.check"),
    Row("GET", "/admin/transactions", "operator", "admin_money.transactions"),
    Row("GET", "/admin/usage", "operator", "admin_money.usage_by"),
    Row("GET", "/admin/models", "operator", "admin_catalog.several"),
    Row("PUT", "/admin/models", "operator", "admin_catalog.put_model"),
    Row("DELETE", "/admin/models", "operator", "admin_catalog.remove_model"),
    Row("PUT", "/admin/offers", "operator", "admin_catalog.put_offer"),
    Row("GET", "/admin/prices", "operator", "admin_catalog.prices"),
    Row("POST", "/admin/prices", "operator", "admin_catalog.set_price", once=True),
    Row("DELETE", "/admin/prices", "operator", "admin_catalog.remove_price"),
    Row("GET", "/admin/providers", "operator", "admin_catalog.providers"),
    Row("GET", "/admin/calls", "operator", "admin_log.several_calls"),
    Row("GET", "/admin/calls/{id}", "operator", "admin_log.show_call"),
    Row("GET", "/admin/audit", "operator", "admin_log.entries"),
    Row("GET", "/admin/audit/verify", "operator", "admin_log.verify"),
    Row("GET", "/openapi.json", "anonymous", "documents.openapi"),
    Row("GET", "/docs", "anonymous", "documents.page"),
    Row("GET", "/docs/style.css", "anonymous", "documents.style"),
)
