"""Overrides: what operators set by API and command, read by every process: models, offers, prices,
and of providers their keys and whether they are on (`control/provider_keys.py`).

Prices are never changed or deleted: the last one that has begun to hold is the one that counts, and
one that says nothing gives the offer back to the lists. So what any call was charged can be looked
up.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import delete, insert, select

from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.price_checks import why_implausible
from gatewayz.catalog.sources import OfferKey, Overrides
from gatewayz.control.audit import AuditEvent
from gatewayz.control.json_columns import json_text
from gatewayz.control.provider_keys import read_provider_overrides
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.core.requests import Capability
from gatewayz.core.usage import BUCKETS
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.revisions import CATALOG, get_revision, increment_revision
from gatewayz.store.sql.tables import MODELS, OFFERS, PRICES

MAX_ROWS = 100_000
MAX_ID = 200
MAX_ALIASES = 100
NO_PRICE = "null"
"""A price that gives the offer back to the lists."""


class SqlCatalogOverrides:
    """The port `CatalogOverrides` over the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def revision(self) -> int:
        async with self._database.begin(reading=True) as connection:
            return await get_revision(connection, CATALOG)

    async def read(self, now_ms: int) -> Overrides:
        oldest_first = (PRICES.c.valid_from_ms, PRICES.c.created_ms, PRICES.c.id)
        async with self._database.begin(reading=True) as connection:
            models = (await connection.execute(select(MODELS).limit(MAX_ROWS))).all()
            offers = (await connection.execute(select(OFFERS).limit(MAX_ROWS))).all()
            prices = (
                await connection.execute(select(PRICES).order_by(*oldest_first).limit(MAX_ROWS))
            ).all()
            providers = await read_provider_overrides(connection)
            number = await get_revision(connection, CATALOG)

        begun = [row for row in prices if row.valid_from_ms <= now_ms]
        begins_ms = [row.valid_from_ms for row in prices if row.valid_from_ms > now_ms]
        return Overrides(
            models=_models_from_rows(models, offers),
            hidden_models=frozenset(row.id for row in models if row.hidden),
            prices=_latest_prices(begun),
            hidden_offers=frozenset(
                (row.provider, row.upstream_id) for row in offers if row.hidden
            ),
            providers=providers,
            revision=number,
            next_ms=min(begins_ms, default=None),
        )


def _models_from_rows(models: Sequence[Any], offers: Sequence[Any]) -> tuple[Model, ...]:
    """Models with the offers that are not hidden; an offer of a model without a row makes one."""
    offers_by_model: dict[str, list[Offer]] = {}
    for row in offers:
        if not row.hidden:
            offers_by_model.setdefault(row.model_id, []).append(_offer_from_row(row))
    rows_by_model = {row.id: row for row in models}
    return tuple(
        _model(name, rows_by_model.get(name), offers_by_model.get(name, ()))
        for name in sorted(rows_by_model.keys() | offers_by_model.keys())
    )


def _model(name: str, row: Any, offers: Iterable[Offer]) -> Model:
    if row is None:
        return Model(id=name, name="", aliases=(), offers=tuple(offers))
    aliases = tuple(msgspec.json.decode(row.aliases))
    return Model(id=name, name=row.name, aliases=aliases, offers=tuple(offers))


def _offer_from_row(row: Any) -> Offer:
    return Offer(
        model=row.model_id,
        provider=row.provider,
        upstream_id=row.upstream_id,
        price=Price(free=True, version="api", source="api") if row.free else None,
        context=row.context,
        max_output=row.max_output,
        can=msgspec.json.decode(row.can, type=frozenset[Capability]) if row.can else None,
    )


def _latest_prices(rows: Iterable[Any]) -> dict[OfferKey, Price]:
    """The last row of each offer holds; rows come in the order in which they begin to hold."""
    latest: dict[OfferKey, Price | None] = {}
    for row in rows:
        latest[row.provider, row.upstream_id] = msgspec.json.decode(row.price, type=Price | None)
    return {offer: price for offer, price in latest.items() if price is not None}


class ModelOverride(Struct, frozen=True, kw_only=True):
    """A model as an operator wants it: its name, its aliases, and whether it is offered.

    Example: ModelOverride(id="acme/fast", name="Fast", aliases=("fast",))
    """

    id: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    hidden: bool = False


class OfferOverride(Struct, frozen=True, kw_only=True):
    """An offer as an operator wants it; what is `None` stays as the lists have it.

    Example: OfferOverride(model="acme/fast", provider="groq", upstream_id="llama-3", free=True)
    """

    model: str
    provider: str
    upstream_id: str
    context: int | None = None
    max_output: int | None = None
    can: tuple[Capability, ...] | None = None
    free: bool = False
    hidden: bool = False

    @property
    def key(self) -> OfferKey:
        return self.provider, self.upstream_id


async def put_model(transaction: ControlTransaction, override: ModelOverride) -> None:
    """Names a model, or hides it. Faults: `bad_request`, `unavailable`."""
    for name in (override.id, *override.aliases):
        _check_id(name)
    if len(override.aliases) > MAX_ALIASES:
        raise Fault("bad_request", f"A model has at most {MAX_ALIASES} aliases.")

    row = {
        "id": override.id,
        "name": override.name[:MAX_ID],
        "aliases": json_text(override.aliases),
        "hidden": override.hidden,
        "changed_ms": transaction.clock.wall_ms(),
    }
    changed = ("name", "aliases", "hidden", "changed_ms")
    event = AuditEvent(
        action="catalog.model", subject=override.id, detail=msgspec.to_builtins(override)
    )
    async with transaction.begin_change(event) as connection:
        await connection.execute(upsert(connection, MODELS, row, changed))
        await increment_revision(connection, CATALOG)


async def put_offer(transaction: ControlTransaction, override: OfferOverride) -> None:
    """Adds an offer to a model, changes it, or hides it. Faults: `bad_request`, `unavailable`."""
    _check_id(override.model)
    _check_id(override.upstream_id)

    key = {
        "model_id": override.model,
        "provider": override.provider,
        "upstream_id": override.upstream_id,
    }
    values = {
        "context": override.context,
        "max_output": override.max_output,
        "can": None if override.can is None else json_text(override.can),
        "free": override.free,
        "hidden": override.hidden,
        "changed_ms": transaction.clock.wall_ms(),
    }
    # An offer that is there keeps its id: only a new one takes this one.
    row = {"id": new_ulid(), **key, **values}
    event = AuditEvent(
        action="catalog.offer",
        subject="/".join(override.key),
        detail=msgspec.to_builtins(override),
    )
    async with transaction.begin_change(event) as connection:
        await connection.execute(upsert(connection, OFFERS, row, tuple(values), unique=tuple(key)))
        await increment_revision(connection, CATALOG)


async def delete_model(transaction: ControlTransaction, model: str) -> None:
    """Takes back what was set of a model and its offers; the lists hold again. Prices stay."""
    event = AuditEvent(action="catalog.model.removed", subject=model)
    async with transaction.begin_change(event) as connection:
        await connection.execute(delete(OFFERS).where(OFFERS.c.model_id == model))
        await connection.execute(delete(MODELS).where(MODELS.c.id == model))
        await increment_revision(connection, CATALOG)


async def set_price(
    transaction: ControlTransaction,
    offer: OfferKey,
    price: Price | None,
    valid_from_ms: int | None = None,
) -> Price | None:
    """The price of an offer from now on, or from a time to come; `None` gives it to the lists.

    Returns the price as it is stored. Faults: `bad_request` for a price that is implausible, or
    that would change what calls were charged.
    """
    now_ms = transaction.clock.wall_ms()
    since_ms = now_ms if valid_from_ms is None else valid_from_ms
    if since_ms < now_ms:
        raise Fault(
            "bad_request", "A price begins now or later: calls that were charged stay as they are."
        )
    if price is not None:
        _check_price(offer, price)

    row_id, source = new_ulid(), f"set by {transaction.actor}"
    stored = None
    if price is not None:
        version = f"api-{row_id}"
        stored = replace(price, version=version, source=source, valid_from_ms=since_ms)
    text = NO_PRICE if stored is None else json_text(stored)

    row = {
        "id": row_id,
        "provider": offer[0],
        "upstream_id": offer[1],
        "price": text,
        "source": source,
        "valid_from_ms": since_ms,
        "created_ms": now_ms,
    }
    event = AuditEvent(
        action="catalog.price",
        subject="/".join(offer),
        detail={"price": text, "valid_from_ms": since_ms},
    )
    async with transaction.begin_change(event) as connection:
        await connection.execute(insert(PRICES).values(row))
        await increment_revision(connection, CATALOG)
    return stored


async def clear_price(transaction: ControlTransaction, offer: OfferKey) -> None:
    """Gives the offer back to the price of the lists. Faults: `bad_request` where none is set."""
    rows = await price_history(transaction.database, offer)
    latest = max(rows, key=lambda row: (row.created_ms, row.id), default=None)
    if latest is None or latest.price == NO_PRICE:
        raise Fault(
            "bad_request", f"No price is set for {'/'.join(offer)[:MAX_ID]}: nothing would change."
        )
    await set_price(transaction, offer, None)


def _check_price(offer: OfferKey, price: Price) -> None:
    rates = {bucket: getattr(price, bucket) for bucket in BUCKETS}
    problem = why_implausible(rates, (), free=price.free)
    if problem:
        raise Fault("bad_request", f"The price of {'/'.join(offer)}: {problem}.")


async def price_history(database: Database, offer: OfferKey) -> list[Any]:
    """Every price that was ever set for an offer, as rows of `prices`, the latest first."""
    provider, upstream_id = offer
    own = select(PRICES).where(PRICES.c.provider == provider, PRICES.c.upstream_id == upstream_id)
    latest_first = own.order_by(
        PRICES.c.valid_from_ms.desc(), PRICES.c.created_ms.desc(), PRICES.c.id.desc()
    )
    async with database.begin(reading=True) as connection:
        return list((await connection.execute(latest_first.limit(MAX_ROWS))).all())


def _check_id(text: str) -> None:
    if not 0 < len(text) <= MAX_ID or not text.isprintable() or " " in text:
        raise Fault(
            "bad_request", f"An id has 1 to {MAX_ID} characters, and no spaces: {text[:MAX_ID]!r}."
        )
