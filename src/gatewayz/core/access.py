"""Who may do what, as tables: what a key's scopes open, and what a person's role hands on to their keys.

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
"""The scope of a short-lived token for a web page: calls, and the list of models. No key can have it."""

OPENS: dict[Access, frozenset[str]] = {
    "inference": frozenset({"inference", BROWSER}),
    "catalog": frozenset({"inference", "account", "operator", BROWSER}),
    "minting": frozenset({"inference"}),
    "member": frozenset({"inference", "account", "operator"}),
    "account": frozenset({"account", "operator"}),
    "metrics": frozenset({"metrics", "operator"}),
    "operator": frozenset({"operator"}),
}
"""What a route asks for → the scopes of which a key must have one; `anonymous` asks for nothing.

`member` shows what is the key's own or its person's, to `account` all that is the account's.
"""

ROLES: dict[str, frozenset[str]] = {
    "member": frozenset({"inference"}),
    "admin": frozenset({"inference", "account"}),
    "operator": frozenset(SCOPES),
    "metrics": frozenset({"metrics"}),
}
"""Role → the scopes that a key of such a person can have; a person who loses a role narrows their keys."""
OWN_ROLES: frozenset[str] = frozenset({"operator", "metrics"})
OWN_SCOPES: frozenset[str] = frozenset({"metrics", "operator"})
"""Roles and scopes that only the account `house` gives."""


def may(scopes: Collection[str], access: Access) -> bool:
    """Whether a key with these scopes may use a route that asks for `access`."""
    return access == "anonymous" or not OPENS[access].isdisjoint(scopes)


def scopes_of(account: str, role: str, given: Collection[str]) -> frozenset[str]:
    """What a key can really do: what it was given, within its person's role (if it is a person's) and its account."""
    scopes = frozenset(given) & ROLES.get(role, frozenset()) if role else frozenset(given)
    return scopes if account == HOUSE else scopes - OWN_SCOPES
