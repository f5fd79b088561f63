"""Delegation: nobody gives a key more than they have, and what an operator set they only tighten.

A key reaches as far as its models, networks, limits and end let it, and spends what its budget
lets it. Whoever changes keys through their own key is bound twice: by their key's reach, and by
what the operator set of the key that they change. Who set what is in the audit log, which no
customer can write.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import select

from gatewayz.control.budgets import BudgetLimit, key_subject
from gatewayz.control.keys import Key
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.ledger.values import Budget
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.tables import API_KEYS, AUDIT_LOG

KEY_ACTIONS = ("key.make", "key.change")
BUDGET_ACTIONS = ("budget.set", "budget.remove")


class KeyBounds(Struct, frozen=True, kw_only=True):
    """How far a key reaches; an empty list, a missing limit and no end bound nothing.

    Example: `KeyBounds(models=("openai/gpt-4o",), limits={"key_rpm": 60})`
    """

    models: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    limits: dict[str, int] = {}
    expires_ms: int | None = None


FIELDS = KeyBounds.__struct_fields__


def bounds_of(key: Key) -> KeyBounds:
    """The bounds of a key as it is."""
    return KeyBounds(**{name: getattr(key, name) for name in FIELDS})


def bounds_within(bounds: KeyBounds, own: KeyBounds, named: Iterable[str]) -> KeyBounds:
    """The same bounds, where those that were not named are the giver's own."""
    rest = {name: getattr(own, name) for name in FIELDS if name not in set(named)}
    return replace(bounds, **rest)


def wider_fields(bounds: KeyBounds, limit: KeyBounds) -> tuple[str, ...]:
    """In which of their fields the bounds reach further than `limit` does.

    Example: `wider_fields(KeyBounds(), KeyBounds(models=("m",)))` is `("models",)`.
    """
    end, last = bounds.expires_ms, limit.expires_ms
    is_wider = {
        "models": bool(limit.models)
        and (not bounds.models or not set(bounds.models) <= set(limit.models)),
        "addresses": bool(limit.addresses)
        and (not bounds.addresses or not _are_inside(bounds.addresses, limit.addresses)),
        "limits": any(
            bounds.limits.get(name, number + 1) > number for name, number in limit.limits.items()
        ),
        "expires_ms": last is not None and (end is None or end > last),
    }
    return tuple(name for name, wider in is_wider.items() if wider)


def _are_inside(networks: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    """Whether every network lies in one of the others; text that is no network lies in none."""
    try:
        inner = [ip_network(text, strict=False) for text in networks]
    except ValueError:
        return False
    around = [ip_network(text, strict=False) for text in outer]
    return all(
        any(
            network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]
            for other in around
        )
        for network in inner
    )


def check_bounds(new: KeyBounds, own: KeyBounds) -> None:
    """A key reaches no further than the one that makes it. Faults: `forbidden`."""
    wider = wider_fields(new, own)
    if wider:
        message = f"This key is bound itself; a key of its making cannot have wider {wider[0]}."
        raise Fault("forbidden", message, param=wider[0])


async def check_change(database: Database, old: Key, new: KeyBounds, caller: Key | None) -> None:
    """Whether a caller, by the key that it has, may change a key's bounds to these.

    Faults: `forbidden` for bounds that are loosened beyond the caller's own, beyond what an
    operator set, or that are the caller's.
    """
    loosened = wider_fields(new, bounds_of(old))
    if not loosened:
        return
    if caller is not None:
        if caller.id == old.id:
            message = f"A key cannot loosen its own bounds ({loosened[0]}); another key can."
            raise Fault("forbidden", message, param=loosened[0])
        further = set(loosened) & set(wider_fields(new, bounds_of(caller)))
        if further:
            name = min(further)
            message = f"This key is bound itself; it cannot give another one wider {name}."
            raise Fault("forbidden", message, param=name)
    beyond = set(loosened) & set(wider_fields(new, await operator_bounds(database, old)))
    if beyond:
        name = min(beyond)
        message = f"The operator set the {name} of this key; only the operator can loosen them."
        raise Fault("forbidden", message, param=name)


async def operator_bounds(database: Database, key: Key) -> KeyBounds:
    """What the operator has set of a key; nothing where its account made it. Faults:
    `unavailable`.
    """
    bounds: KeyBounds | None = None
    for action, detail, by_operator in await _entries(database, key.account, key.id, KEY_ACTIONS):
        if action == "key.make":
            given = detail if by_operator else detail.get("operator_bounds", {})
            # Earlier versions wrote no bounds down: then those that are there are taken for them.
            unknown = bounds_of(key) if by_operator and "limits" not in detail else KeyBounds()
            bounds = _merge(unknown, given)
        elif by_operator:
            bounds = _merge(bounds or KeyBounds(), detail)
    return bounds if bounds is not None else bounds_of(key)


def _merge(bounds: KeyBounds, detail: Mapping[str, Any]) -> KeyBounds:
    given = {name: detail[name] for name in FIELDS if name in detail}
    return msgspec.convert(msgspec.to_builtins(bounds) | given, KeyBounds)


async def operator_budget(database: Database, account: str, subject: str) -> BudgetLimit | None:
    """The budget that the operator has set of a subject, while it stands. Faults: `unavailable`."""
    limit: BudgetLimit | None = None
    if subject.startswith(key_subject("")):
        key_id = subject.removeprefix(key_subject(""))
        for _, detail, _ in await _entries(database, account, key_id, ("key.make",)):
            limit = _budget_from_detail(detail.get("operator_budget"))
    for action, detail, by_operator in await _entries(database, account, subject, BUDGET_ACTIONS):
        if by_operator:
            limit = _budget_from_detail(detail) if action == "budget.set" else None
    return limit


def _budget_from_detail(detail: Mapping[str, Any] | None) -> BudgetLimit | None:
    if not detail:
        return None
    return BudgetLimit(amount=Nanos(detail["limit_nanos"]), period=detail["period"])


async def check_budget(
    database: Database,
    account: str,
    subject: str,
    limit: BudgetLimit | None,
    own_subject: str,
    current: Budget | None,
) -> None:
    """Whether the budget of a subject may become this one, or be taken away (`None`), by somebody
    whose key has the subject `own_subject`. Faults: `forbidden`.
    """
    if current is not None and subject == own_subject:
        same = BudgetLimit(amount=Nanos(current.limit), period=current.period)
        if _is_looser(limit, same):
            raise Fault("forbidden", "A key cannot loosen its own budget; another key can.")
    ceiling = await operator_budget(database, account, subject)
    if ceiling is not None and _is_looser(limit, ceiling):
        message = "The operator set this budget; only the operator can raise it or take it away."
        raise Fault("forbidden", message)


def _is_looser(limit: BudgetLimit | None, ceiling: BudgetLimit) -> bool:
    return limit is None or limit.period != ceiling.period or limit.amount > ceiling.amount


async def _entries(
    database: Database, account: str, subject: str, actions: tuple[str, ...]
) -> list[tuple[str, dict[str, Any], bool]]:
    """What the audit log says of a subject, oldest first: action, detail, whether by an operator.

    Everybody is an operator who is no key of the account itself: the command line, the gateway, a
    key of the house.
    """
    log = AUDIT_LOG.c
    entries = (
        select(log.action, log.detail, log.actor)
        .where(log.account_id == account, log.subject == subject, log.action.in_(actions))
        .order_by(log.number)
    )
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(entries)).all()
        actors = {actor.removeprefix("key:") for _, _, actor in rows if actor.startswith("key:")}
        own = select(API_KEYS.c.id, API_KEYS.c.scopes).where(
            API_KEYS.c.account_id == account, API_KEYS.c.id.in_(actors)
        )
        keys = (await connection.execute(own)).all() if actors else []
    tenants = {f"key:{key_id}" for key_id, scopes in keys if '"operator"' not in scopes}
    return [
        (action, msgspec.json.decode(detail), actor not in tenants)
        for action, detail, actor in rows
    ]
