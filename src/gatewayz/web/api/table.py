"""The control plane's routes: where each is, who may call it, what serves it. Nothing is reachable without a row.

`{id}` stands for one segment of a path: letters, digits and `-_.:`, nothing that is spelled in another way.
"""

import re

from msgspec import Struct

from gatewayz.core.access import Access

SEGMENT = rb"[0-9A-Za-z_:-][0-9A-Za-z_.:-]{0,127}"


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
        parts = (SEGMENT if part.startswith("{") else re.escape(part).encode() for part in self.path.split("/"))
        return re.compile(b"/".join(parts))


ROWS = (
    Row("GET", "/v1/account", "member", "account.show"),
    Row("GET", "/v1/account/usage", "member", "account.usage_by"),
    Row("GET", "/v1/account/transactions", "account", "account.transactions"),
    Row("GET", "/v1/account/budgets", "member", "account.list_budgets"),
    Row("PUT", "/v1/account/budgets", "account", "account.put_budget"),
    Row("DELETE", "/v1/account/budgets", "account", "account.remove_budget"),
    Row("GET", "/v1/keys", "member", "keys.several"),
    Row("POST", "/v1/keys", "account", "keys.create", once=True),
    Row("GET", "/v1/keys/{id}", "member", "keys.show"),
    Row("PATCH", "/v1/keys/{id}", "account", "keys.change"),
    Row("DELETE", "/v1/keys/{id}", "account", "keys.revoke"),
    Row("POST", "/v1/keys/{id}/rotate", "account", "keys.rotate", once=True),
    Row("GET", "/v1/calls", "member", "calls.several"),
    Row("GET", "/v1/calls/{id}", "member", "calls.show"),
    Row("GET", "/openapi.json", "anonymous", "documents.openapi"),
    Row("GET", "/docs", "anonymous", "documents.page"),
    Row("GET", "/docs/style.css", "anonymous", "documents.style"),
)
