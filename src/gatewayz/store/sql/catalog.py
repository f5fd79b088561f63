"""Models, offers and prices as operators set them by API: changed at the desk, read by every process.

Prices are never changed or deleted: the last one that has begun to hold is the one that counts, and one that says
nothing gives the offer back to the lists. So what any call was charged can be looked up.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.catalog.gates import why_not_sane
from gatewayz.catalog.merge import Overrides, Place
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.core.requests import Capability
from gatewayz.core.usage import BUCKETS
from gatewayz.store.sql.audit import Deed
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.revising import bumped, number_of
from gatewayz.store.sql.tables import MODELS, OFFERS, PRICES

CATALOG = "catalog"
"""The subject of `revisions` that counts changes of models, offers and prices."""
MAX_ROWS = 100_000
MAX_ID = 200
MAX_ALIASES = 100
NOTHING = "null"
"""A price that gives the offer back to the lists."""


class SqlCatalog:
    """The port `Catalog` over the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def number(self) -> int:
        async with self._database.begin(reading=True) as connection:
            return await number_of(connection, CATALOG)

    async def read(self, now_ms: int) -> Overrides:
        async with self._database.begin(reading=True) as connection:
            models = (await connection.execute(select(MODELS).limit(MAX_ROWS))).all()
            offers = (await connection.execute(select(OFFERS).limit(MAX_ROWS))).all()
            priced = (
                select(PRICES)
                .order_by(PRICES.c.valid_from_ms, PRICES.c.created_ms, PRICES.c.id)
                .limit(MAX_ROWS)
            )
            prices = (await connection.execute(priced)).all()
            number = await number_of(connection, CATALOG)
        later = [row.valid_from_ms for row in prices if row.valid_from_ms > now_ms]
        return Overrides(
            models=_models(models, offers),
            hidden_models=frozenset(row.id for row in models if row.hidden),
            prices=_prices(row for row in prices if row.valid_from_ms <= now_ms),
            hidden_offers=frozenset(
                (row.provider, row.upstream_id) for row in offers if row.hidden
            ),
            number=number,
            next_ms=min(later, default=None),
        )


def _models(models: Sequence[Any], offers: Sequence[Any]) -> tuple[Model, ...]:
    by_model: dict[str, list[Offer]] = {}
    for row in offers:
        if not row.hidden:
            by_model.setdefault(row.model_id, []).append(_offer(row))
    named = {row.id: row for row in models}
    return tuple(
        Model(
            id=name,
            name=named[name].name if name in named else "",
            aliases=tuple(msgspec.json.decode(named[name].aliases)) if name in named else (),
            offers=tuple(by_model.get(name, ())),
        )
        for name in sorted(named.keys() | by_model.keys())
    )


def _offer(row: Any) -> Offer:
    return Offer(
        model=row.model_id,
        provider=row.provider,
        upstream_id=row.upstream_id,
        price=Price(free=True, version="api", source="api") if row.free else None,
        context=row.context,
        max_output=row.max_output,
        can=msgspec.json.decode(row.can, type=frozenset[Capability]) if row.can else None,
    )


def _prices(rows: Iterable[Any]) -> dict[Place, Price]:
    """The last row of each place holds."""
    found: dict[Place, Price | None] = {}
    for row in rows:
        found[row.provider, row.upstream_id] = msgspec.json.decode(row.price, type=Price | None)
    return {place: price for place, price in found.items() if price is not None}


class ModelWish(Struct, frozen=True, kw_only=True):
    """A model as an operator wants it: how it is called, and whether it is on the shelf."""

    id: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    hidden: bool = False


class OfferWish(Struct, frozen=True, kw_only=True):
    """An offer as an operator wants it; what is not said stays as lists know it."""

    model: str
    provider: str
    upstream_id: str
    context: int | None = None
    max_output: int | None = None
    can: tuple[Capability, ...] | None = None
    free: bool = False
    hidden: bool = False

    @property
    def place(self) -> Place:
        return self.provider, self.upstream_id


async def put_model(desk: Desk, wish: ModelWish) -> None:
    """Names a model, or hides it. Faults: `bad_request`, `unavailable`."""
    for name in (wish.id, *wish.aliases):
        _check_id(name)
    if len(wish.aliases) > MAX_ALIASES:
        raise Fault("bad_request", f"A model has at most {MAX_ALIASES} aliases.")
    row = {
        "name": wish.name[:MAX_ID],
        "aliases": msgspec.json.encode(wish.aliases).decode(),
        "hidden": wish.hidden,
    }
    deed = Deed(action="catalog.model", subject=wish.id, detail=msgspec.to_builtins(wish))
    async with desk.changing(deed) as connection:
        await _put(connection, MODELS, {"id": wish.id}, {**row, "changed_ms": desk.clock.wall_ms()})
        await bumped(connection, CATALOG)


async def put_offer(desk: Desk, wish: OfferWish) -> None:
    """Adds an offer to a model, changes it, or hides it. Faults: `bad_request`, `unavailable`."""
    _check_id(wish.model)
    _check_id(wish.upstream_id)
    row = {
        "context": wish.context,
        "max_output": wish.max_output,
        "can": msgspec.json.encode(wish.can).decode() if wish.can is not None else None,
        "free": wish.free,
        "hidden": wish.hidden,
        "changed_ms": desk.clock.wall_ms(),
    }
    place = {"model_id": wish.model, "provider": wish.provider, "upstream_id": wish.upstream_id}
    deed = Deed(
        action="catalog.offer", subject="/".join(wish.place), detail=msgspec.to_builtins(wish)
    )
    async with desk.changing(deed) as connection:
        await _put(connection, OFFERS, place, row, {"id": new_ulid()})
        await bumped(connection, CATALOG)


async def remove_model(desk: Desk, model: str) -> None:
    """Takes back what was set of a model and its offers; lists hold again. Prices stay."""
    deed = Deed(action="catalog.model.removed", subject=model)
    async with desk.changing(deed) as connection:
        await connection.execute(delete(OFFERS).where(OFFERS.c.model_id == model))
        await connection.execute(delete(MODELS).where(MODELS.c.id == model))
        await bumped(connection, CATALOG)


async def set_price(
    desk: Desk, place: Place, price: Price | None, valid_from_ms: int | None = None
) -> Price | None:
    """The price of an offer from now on, or from a time to come; none gives it back to the lists.

    Faults: `bad_request` for a price that fails the gates, or one that would change what calls were charged.
    """
    now_ms = desk.clock.wall_ms()
    since_ms = now_ms if valid_from_ms is None else valid_from_ms
    if since_ms < now_ms:
        raise Fault(
            "bad_request", "A price begins now or later: calls that were charged stay as they are."
        )
    row_id, source = new_ulid(), f"set by {desk.actor}"
    kept = None
    if price is not None:
        listed = {bucket: getattr(price, bucket) for bucket in BUCKETS}
        why = why_not_sane(listed, (), free=price.free)
        if why:
            raise Fault("bad_request", f"The price of {'/'.join(place)}: {why}.")
        kept = replace(price, version=f"api-{row_id}", source=source, valid_from_ms=since_ms)
    text = NOTHING if kept is None else msgspec.json.encode(kept).decode()
    deed = Deed(
        action="catalog.price",
        subject="/".join(place),
        detail={"price": text, "valid_from_ms": since_ms},
    )
    async with desk.changing(deed) as connection:
        await connection.execute(
            insert(PRICES).values(
                id=row_id,
                provider=place[0],
                upstream_id=place[1],
                price=text,
                source=source,
                valid_from_ms=since_ms,
                created_ms=now_ms,
            )
        )
        await bumped(connection, CATALOG)
    return kept


async def price_history(database: Database, place: Place) -> list[Any]:
    """Every price that was ever set for an offer, the latest first."""
    provider, upstream_id = place
    wanted = select(PRICES).where(
        PRICES.c.provider == provider, PRICES.c.upstream_id == upstream_id
    )
    latest = wanted.order_by(
        PRICES.c.valid_from_ms.desc(), PRICES.c.created_ms.desc(), PRICES.c.id.desc()
    )
    async with database.begin(reading=True) as connection:
        return list((await connection.execute(latest.limit(MAX_ROWS))).all())


def _check_id(text: str) -> None:
    if not 0 < len(text) <= MAX_ID or not text.isprintable() or " " in text:
        raise Fault(
            "bad_request", f"An id has 1 to {MAX_ID} characters, and no spaces: {text[:MAX_ID]!r}."
        )


Columns = dict[str, Any]


async def _put(
    connection: AsyncConnection, table: Any, key: Columns, row: Columns, once: Columns | None = None
) -> None:  # fmt: skip
    """Inserts a row, or changes the one with this key; `once` is only said of a new one."""
    maker = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    made = maker(table).values(**(once or {}), **key, **row)
    await connection.execute(made.on_conflict_do_update(index_elements=list(key), set_=row))
