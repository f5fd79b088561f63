"""Who may do what, as tables: what a key's scopes open, and which scopes a person's role allows
their keys.

What runs the installation belongs to its own account, `house`: no other account has an operator.
"""

from collections.abc import Collection
from typing import Literal

Scope = Literal["inference", "account", "metrics", "operator"]
Role = Literal["member", "admin", "operator", "metrics"]
Access = Literal[
    "anonymous", "inference", "catalog", "minting", "member", "account", "metrics", "operator"
]

HOUSE = "house"
"""The bootstrap account, for one's own use: never refused, every call booked."""
SCOPES: tuple[Scope, ...] = ("inference", "account", "metrics", "operator")
BROWSER = "browser"
"""The scope of a short-lived token for a web page: calls, and the list of models.

No key can have it.
"""

ACCESS_SCOPES: dict[Access, frozenset[str]] = {
    "inference": frozenset({"inference", BROWSER}),
    "catalog": frozenset({"inference", "account", "operator", BROWSER}),
    "minting": frozenset({"inference"}),
    "member": frozenset({"inference", "account", "operator"}),
    "account": frozenset({"account", "operator"}),
    "metrics": frozenset({"metrics", "operator"}),
    "operator": frozenset({"operator"}),
}
"""What a route asks for → the scopes of which a key must have one; `anonymous` asks for nothing.

A `member` route shows a key what is its own or its person's; with the scope `account`, all that is
the account's.
"""

ROLE_SCOPES: dict[str, frozenset[str]] = {
    "member": frozenset({"inference"}),
    "admin": frozenset({"inference", "account"}),
    "operator": frozenset(SCOPES),
    "metrics": frozenset({"metrics"}),
}
"""Role → the scopes that a key of such a person can have; a person who loses a role narrows their
keys.
"""
HOUSE_ROLES: frozenset[str] = frozenset({"operator", "metrics"})
HOUSE_SCOPES: frozenset[str] = frozenset({"metrics", "operator"})
"""Roles and scopes that only the account `house` gives."""


def can_access(scopes: Collection[str], access: Access) -> bool:
    """Whether a key with these scopes may use a route that asks for `access`."""
    return access == "anonymous" or not ACCESS_SCOPES[access].isdisjoint(scopes)


def effective_scopes(account: str, role: str, key_scopes: Collection[str]) -> frozenset[str]:
    """What a key can really do: its own scopes, within its account and, if it is a person's, within
    that one's role.

    Example: `effective_scopes("acme", "member", {"inference", "account"})` is `{"inference"}`.
    """
    scopes = frozenset(key_scopes)
    if role:
        scopes &= ROLE_SCOPES.get(role, frozenset())
    return scopes if account == HOUSE else scopes - HOUSE_SCOPES
