"""Whom we can call: a provider is a row, an oddity is a quirk, a key is a credential."""

from typing import Any, Literal

from msgspec import Struct

from gatewayz.core.secrets import Secret

Auth = Literal["bearer", "optional_bearer", "api_key", "x_api_key", "none"]


class Quirks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Named oddities of a provider; a row states only those it has."""

    max_tokens_field: str = "max_tokens"


class Credential(Struct, frozen=True, kw_only=True):
    """A key with its weight among a provider's keys; `id` names it in logs (never the key itself)."""

    id: str
    key: Secret
    weight: int = 1


class Provider(Struct, frozen=True, kw_only=True):
    """A company's API: one row of providers.toml, with the operator's settings laid over it."""

    id: str
    name: str
    dialect: str
    base_url: str
    auth: Auth = "bearer"
    credentials: tuple[Credential, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    priority: int = 100
    free: bool = False
    local: bool = False
    verified: bool = True
    quirks: Quirks = Quirks()
    off: str = ""
    """Why the provider is off; empty when it is on."""
    extra: dict[str, Any] = {}
