"""The control plane's routes: where each operation is, and who may call it. There are no others.

`{id}` stands for one segment of a path: letters, digits, `-` and `_`, in no other spelling. This
module is loaded at the start, so it names no handler: `handlers.py` has the function of each
operation, by its id, and loads FastAPI.
"""

import re

from msgspec import Struct

from gatewayz.core.access import Access

UNITS = {
    "get_usage": 10,
    "get_any_usage": 10,
    "check_ledger": 10,
    "verify_audit_log": 10,
    "list_calls": 4,
    "list_any_calls": 4,
    "list_transactions": 4,
    "list_any_transactions": 4,
    "list_audit_entries": 4,
}
"""Operation → its cost where it is more than one: those read many rows, or all of an account's."""
SEGMENT = rb"[0-9A-Za-z_-]{1,128}"


class ApiRoute(Struct, frozen=True):
    """One operation. `operation` is its id in the OpenAPI document, and the name of its function.

    Example: `ApiRoute("GET", "/v1/keys/{id}", "member", "get_key")`.
    """

    method: str
    path: str
    access: Access
    operation: str
    idempotent: bool = False
    """It spends or creates: an `Idempotency-Key` makes it happen once."""

    @property
    def units(self) -> int:
        """What a request costs in the bucket of API requests, by the work that it is."""
        return UNITS.get(self.operation, 1)

    @property
    def pattern(self) -> re.Pattern[bytes] | None:
        """What its paths look like, byte for byte; `None` if there is only one."""
        if "{" not in self.path:
            return None
        parts = (
            SEGMENT if part.startswith("{") else re.escape(part).encode()
            for part in self.path.split("/")
        )
        return re.compile(b"/".join(parts))


ROUTES = (
    ApiRoute("GET", "/v1/account", "member", "get_account"),
    ApiRoute("GET", "/v1/account/usage", "member", "get_usage"),
    ApiRoute("GET", "/v1/account/transactions", "account", "list_transactions"),
    ApiRoute("GET", "/v1/account/budgets", "member", "list_budgets"),
    ApiRoute("PUT", "/v1/account/budgets", "account", "put_budget"),
    ApiRoute("DELETE", "/v1/account/budgets", "account", "delete_budget"),
    ApiRoute("GET", "/v1/account/webhook", "account", "get_webhook"),
    ApiRoute("PUT", "/v1/account/webhook", "account", "put_webhook"),
    ApiRoute("DELETE", "/v1/account/webhook", "account", "delete_webhook"),
    ApiRoute(
        "POST", "/v1/account/webhook/test", "account", "send_test_notification", idempotent=True
    ),
    ApiRoute("GET", "/v1/account/notifications", "account", "list_notifications"),
    ApiRoute("GET", "/v1/keys", "member", "list_keys"),
    ApiRoute("POST", "/v1/keys", "account", "create_key", idempotent=True),
    ApiRoute("GET", "/v1/keys/{id}", "member", "get_key"),
    ApiRoute("PATCH", "/v1/keys/{id}", "account", "update_key"),
    ApiRoute("DELETE", "/v1/keys/{id}", "account", "revoke_key"),
    ApiRoute("POST", "/v1/keys/{id}/rotate", "account", "rotate_key", idempotent=True),
    ApiRoute("GET", "/v1/tokens", "member", "list_tokens"),
    ApiRoute("POST", "/v1/tokens", "minting", "create_token", idempotent=True),
    ApiRoute("DELETE", "/v1/tokens/{id}", "member", "revoke_token"),
    ApiRoute("GET", "/v1/calls", "member", "list_calls"),
    ApiRoute("GET", "/v1/calls/{id}", "member", "get_call"),
    ApiRoute("GET", "/v1/credits", "member", "get_openrouter_credits"),
    ApiRoute("GET", "/v1/key", "member", "get_openrouter_key"),
    ApiRoute("GET", "/v1/generation", "member", "get_openrouter_generation"),
    ApiRoute("GET", "/admin/accounts", "operator", "list_accounts"),
    ApiRoute("POST", "/admin/accounts", "operator", "create_account", idempotent=True),
    ApiRoute("GET", "/admin/accounts/{id}", "operator", "get_any_account"),
    ApiRoute("PATCH", "/admin/accounts/{id}", "operator", "update_account"),
    ApiRoute("GET", "/admin/users", "operator", "list_users"),
    ApiRoute("POST", "/admin/users", "operator", "create_user", idempotent=True),
    ApiRoute("GET", "/admin/users/{id}", "operator", "get_user"),
    ApiRoute("PATCH", "/admin/users/{id}", "operator", "update_user"),
    ApiRoute("GET", "/admin/keys", "operator", "list_any_keys"),
    ApiRoute("POST", "/admin/keys", "operator", "create_any_key", idempotent=True),
    ApiRoute("GET", "/admin/keys/{id}", "operator", "get_any_key"),
    ApiRoute("PATCH", "/admin/keys/{id}", "operator", "update_any_key"),
    ApiRoute("DELETE", "/admin/keys/{id}", "operator", "revoke_any_key"),
    ApiRoute("POST", "/admin/keys/{id}/rotate", "operator", "rotate_any_key", idempotent=True),
    ApiRoute("GET", "/admin/budgets", "operator", "list_any_budgets"),
    ApiRoute("PUT", "/admin/budgets", "operator", "put_any_budget"),
    ApiRoute("DELETE", "/admin/budgets", "operator", "delete_any_budget"),
    ApiRoute("GET", "/admin/webhooks", "operator", "get_any_webhook"),
    ApiRoute("PUT", "/admin/webhooks", "operator", "put_any_webhook"),
    ApiRoute("DELETE", "/admin/webhooks", "operator", "delete_any_webhook"),
    ApiRoute("GET", "/admin/notifications", "operator", "list_any_notifications"),
    ApiRoute("GET", "/admin/credits", "operator", "get_credits"),
    ApiRoute("POST", "/admin/credits/topup", "operator", "create_topup", idempotent=True),
    ApiRoute("POST", "/admin/credits/grant", "operator", "create_grant", idempotent=True),
    ApiRoute("POST", "/admin/credits/adjust", "operator", "create_adjustment", idempotent=True),
    ApiRoute("POST", "/admin/credits/refund", "operator", "create_refund", idempotent=True),
    ApiRoute("GET", "/admin/credits/check", "operator", "check_ledger"),
    ApiRoute("GET", "/admin/transactions", "operator", "list_any_transactions"),
    ApiRoute("GET", "/admin/usage", "operator", "get_any_usage"),
    ApiRoute("GET", "/admin/models", "operator", "list_models"),
    ApiRoute("PUT", "/admin/models", "operator", "put_model"),
    ApiRoute("DELETE", "/admin/models", "operator", "delete_model"),
    ApiRoute("PUT", "/admin/offers", "operator", "put_offer"),
    ApiRoute("GET", "/admin/prices", "operator", "list_prices"),
    ApiRoute("POST", "/admin/prices", "operator", "set_price", idempotent=True),
    ApiRoute("DELETE", "/admin/prices", "operator", "delete_price"),
    ApiRoute("GET", "/admin/providers", "operator", "list_providers"),
    ApiRoute("GET", "/admin/providers/{id}", "operator", "get_provider"),
    ApiRoute("PATCH", "/admin/providers/{id}", "operator", "update_provider"),
    ApiRoute("GET", "/admin/provider-keys", "operator", "list_provider_keys"),
    ApiRoute("POST", "/admin/provider-keys", "operator", "create_provider_key", idempotent=True),
    ApiRoute("DELETE", "/admin/provider-keys/{id}", "operator", "delete_provider_key"),
    ApiRoute("GET", "/admin/calls", "operator", "list_any_calls"),
    ApiRoute("GET", "/admin/calls/{id}", "operator", "get_any_call"),
    ApiRoute("GET", "/admin/audit", "operator", "list_audit_entries"),
    ApiRoute("GET", "/admin/audit/verify", "operator", "verify_audit_log"),
    ApiRoute("GET", "/openapi.json", "anonymous", "openapi_document"),
    ApiRoute("GET", "/docs", "anonymous", "docs_page"),
    ApiRoute("GET", "/docs/start.js", "anonymous", "docs_start"),
    ApiRoute("GET", "/docs/swagger-ui.css", "anonymous", "docs_style"),
    ApiRoute("GET", "/docs/swagger-ui-bundle.js", "anonymous", "docs_script"),
)
