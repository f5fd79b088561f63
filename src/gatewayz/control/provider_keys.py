"""Keys and switches of providers, as operators set them while the gateways serve.

They are overrides like prices and models: rows under the revision `catalog`, which every process
reads within a second. A key is shown to nobody again, and the database holds it encrypted for its
own row. What the configuration file sets holds over them; they hold over the environment.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.catalog.sources import Overrides, ProviderOverride, StoredKey
from gatewayz.control.audit import AuditEvent
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import unsendable_character
from gatewayz.core.secrets import Secret
from gatewayz.providers.spec import TOKEN_AUTH_FORMS, Credential, Provider, ProviderChange
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.revisions import CATALOG, increment_revision
from gatewayz.store.sql.tables import PROVIDER_KEYS, PROVIDER_SWITCHES
from gatewayz.store.sql.vault import Vault

MAX_KEYS = 32
"""Keys that are stored of one provider."""
MAX_KEY_CHARS = 8_192
"""An account's key file is the longest: about 2,400."""
MAX_WEIGHT = 1_000
MAX_REASON_CHARS = 200
SWITCHED_OFF = "switched off by an operator"
SHOWN_FIRST, SHOWN_LAST = 3, 4
MIN_SHOWN_CHARS = 16
"""Of a shorter key nothing is shown: its ends would be much of it."""
ID_CHARS = 6
"""Of a stored key's id, which name its credential in logs."""


def provider_vault(peppers: Peppers) -> Vault:
    """What the keys of providers are encrypted with; the table's name is part of it."""
    return Vault(peppers, PROVIDER_KEYS.name)


def changes_from_overrides(overrides: Overrides, peppers: Peppers) -> dict[str, ProviderChange]:
    """What is set, by provider, with its keys decrypted."""
    vault = provider_vault(peppers)
    return {
        provider: _change_from_override(provider, override, vault)
        for provider, override in overrides.providers.items()
    }


def _change_from_override(
    provider: str, override: ProviderOverride, vault: Vault
) -> ProviderChange:
    credentials = []
    for key in override.keys:
        plain = vault.decrypt(key.encrypted, key.id, provider)
        if plain is not None:
            name = f"{provider}#{key.id[-ID_CHARS:]}"
            credentials.append(
                Credential(id=name, key=Secret(plain.decode()), weight=max(key.weight, 1))
            )
    return ProviderChange(
        credentials=tuple(credentials),
        unreadable=len(override.keys) - len(credentials),
        off=override.off,
    )


async def read_provider_overrides(connection: AsyncConnection) -> dict[str, ProviderOverride]:
    """Every provider of which something is set, by its id."""
    keys: dict[str, list[StoredKey]] = {}
    for row in (await connection.execute(select(PROVIDER_KEYS).order_by(PROVIDER_KEYS.c.id))).all():
        keys.setdefault(row.provider, []).append(_stored_key(row))
    switches = (await connection.execute(select(PROVIDER_SWITCHES))).all()
    off = {
        row.provider: f"{SWITCHED_OFF}: {row.reason}" if row.reason else SWITCHED_OFF
        for row in switches
    }
    return {
        provider: ProviderOverride(keys=tuple(keys.get(provider, ())), off=off.get(provider, ""))
        for provider in sorted(keys.keys() | off.keys())
    }


def _stored_key(row: Any) -> StoredKey:
    return StoredKey(
        id=row.id,
        provider=row.provider,
        shown=row.shown,
        weight=row.weight,
        created_ms=row.created_ms,
        encrypted=row.key,
    )


async def list_provider_keys(database: Database, provider: str = "") -> list[StoredKey]:
    """The keys that are stored, of one provider or of all, the oldest first.

    Faults: `unavailable`.
    """
    async with database.begin(reading=True) as connection:
        overrides = await read_provider_overrides(connection)
    names = [provider] if provider else list(overrides)
    return [key for name in names for key in overrides.get(name, ProviderOverride()).keys]


async def put_provider_key(
    transaction: ControlTransaction, provider: Provider, key: str, *, weight: int, beside: bool
) -> StoredKey:
    """Stores a key, in place of those that are stored, or `beside` them.

    Faults: `bad_request` for a key that cannot be sent, `config_locked` where the configuration
    sets the keys, `unavailable`.
    """
    key = check_provider_key(provider, key)
    _check_keys_not_locked(provider)
    if not 1 <= weight <= MAX_WEIGHT:
        raise Fault("bad_request", f"weight: 1 to {MAX_WEIGHT}, not {weight}.", param="weight")

    stored = StoredKey(
        id=new_ulid(),
        provider=provider.id,
        shown=mask_provider_key(key),
        weight=weight,
        created_ms=transaction.clock.wall_ms(),
    )
    row = {
        "id": stored.id,
        "provider": provider.id,
        "key": provider_vault(transaction.peppers).encrypt(key.encode(), stored.id, provider.id),
        "shown": stored.shown,
        "weight": weight,
        "created_ms": stored.created_ms,
    }
    detail = {"key": stored.id, "shown": stored.shown, "weight": weight, "beside": beside}
    event = AuditEvent(action="provider.key.set", subject=provider.id, detail=detail)
    own = PROVIDER_KEYS.c.provider == provider.id
    async with transaction.begin_change(event) as connection:
        if not beside:
            await connection.execute(delete(PROVIDER_KEYS).where(own))
        count = select(func.count()).select_from(PROVIDER_KEYS).where(own)
        if (await connection.execute(count)).scalar_one() >= MAX_KEYS:
            raise Fault(
                "bad_request",
                f"{provider.id} has {MAX_KEYS} keys already, the most that are stored of one "
                "provider; remove one.",
            )
        await connection.execute(PROVIDER_KEYS.insert().values(row))
        await increment_revision(connection, CATALOG)
    return stored


async def delete_provider_key(transaction: ControlTransaction, key_id: str) -> StoredKey:
    """Takes a stored key away; what the environment has holds again if it was the last.

    Faults: `not_found`, `unavailable`.
    """
    own = PROVIDER_KEYS.c.id == key_id
    async with transaction.begin_locked() as connection:
        row = (await connection.execute(select(PROVIDER_KEYS).where(own))).first()
        if row is None:
            raise Fault("not_found", f"No key {key_id[:64]!r} is stored of any provider.")
        await connection.execute(delete(PROVIDER_KEYS).where(own))
        await increment_revision(connection, CATALOG)
        detail = {"key": row.id, "shown": row.shown}
        event = AuditEvent(action="provider.key.removed", subject=row.provider, detail=detail)
        await transaction.append_event(connection, event)
    return _stored_key(row)


async def switch_provider(
    transaction: ControlTransaction, provider: Provider, *, on: bool, reason: str = ""
) -> None:
    """Switches a provider off, or on again; calls under way go on.

    Faults: `config_locked` for one that the configuration switches off, `unavailable`.
    """
    if on and provider.disabled_in_settings:
        raise Fault(
            "config_locked",
            f"providers.{provider.id}.enabled is false in the configuration; change it there.",
        )
    if len(reason) > MAX_REASON_CHARS or (reason and not reason.isprintable()):
        raise Fault(
            "bad_request",
            f"reason: one line of at most {MAX_REASON_CHARS} characters.",
            param="reason",
        )
    event = AuditEvent(
        action="provider.on" if on else "provider.off",
        subject=provider.id,
        detail={} if on else {"reason": reason},
    )
    async with transaction.begin_change(event) as connection:
        if on:
            own = PROVIDER_SWITCHES.c.provider == provider.id
            await connection.execute(delete(PROVIDER_SWITCHES).where(own))
        else:
            row = {
                "provider": provider.id,
                "reason": reason,
                "changed_ms": transaction.clock.wall_ms(),
            }
            changed = ("reason", "changed_ms")
            await connection.execute(upsert(connection, PROVIDER_SWITCHES, row, changed))
        await increment_revision(connection, CATALOG)


def check_provider_key(provider: Provider, text: str) -> str:
    """The key as it is sent, in a header, or as the account that tokens are fetched with.

    Faults: `bad_request`, without quoting the text.
    """
    key = text.strip()
    problem = ""
    if not key:
        problem = "it is empty"
    elif len(key) > MAX_KEY_CHARS:
        problem = f"it has {len(key)} characters, more than {MAX_KEY_CHARS}"
    elif provider.auth in TOKEN_AUTH_FORMS:
        # A path would be another file on each machine.
        problem = "" if key.startswith("{") else "it is no JSON document of an account"
    elif provider.auth == "none":
        problem = f"{provider.id} takes no key"
    elif odd := unsendable_character(key, spaces=False):
        problem = f"it contains {odd}, which no header carries; paste the key alone"
    if problem:
        raise Fault(
            "bad_request", f"The key for {provider.id} cannot be used: {problem}.", param="key"
        )
    return key


def mask_provider_key(key: str) -> str:
    """What may be shown of a provider's key. Example: `sk-…9f2c`"""
    if key.startswith("{"):
        return "{…}"
    return f"{key[:SHOWN_FIRST]}…{key[-SHOWN_LAST:]}" if len(key) >= MIN_SHOWN_CHARS else "…"


def find_provider(providers: Mapping[str, Provider], name: str) -> Provider:
    """The provider with this id. Faults: `not_found`."""
    provider = providers.get(name)
    if provider is None:
        near = get_close_matches(name[:64], providers, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "; `gatewayz providers` lists them."
        raise Fault("not_found", f"There is no provider {name[:64]!r}{hint}")
    return provider


def _check_keys_not_locked(provider: Provider) -> None:
    if provider.keys_from == "settings":
        raise Fault(
            "config_locked",
            f"{provider.key_source} is set in the configuration and holds over stored keys; "
            "change it there.",
        )
