"""Models, offers and prices set by API: over every list and under the file, heard of by every process, on both databases."""

import asyncio

import pytest

from gatewayz.catalog.merge import Lists, merged, set_in_file
from gatewayz.catalog.naming import Shelf
from gatewayz.catalog.own import ModelSettings, OfferSettings, own_models, priced
from gatewayz.catalog.seed import seed
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.core.requests import Capability
from gatewayz.providers.registry import providers_from, rows
from gatewayz.store.sql.catalog import (
    ModelWish,
    OfferWish,
    SqlCatalog,
    price_history,
    put_model,
    put_offer,
    remove_model,
    set_price,
)
from tests.support.clocks import ManualClock
from tests.support.desks import desk_at
from tests.support.paying import asked, paying

PROVIDERS = providers_from(rows(), {}, {})
GPT = ("openai", "gpt-4o")


@pytest.fixture
def desk(database):
    return desk_at(database, ManualClock())


async def stocked(desk, *own):
    overrides = await SqlCatalog(desk.database).read(desk.clock.wall_ms())
    return Shelf(
        merged(Lists(seed(), {}, own_models(own), overrides=overrides), PROVIDERS), PROVIDERS
    )


def price_at(shelf, place, model="openai/gpt-4o"):
    return next(
        offer.price
        for offer in shelf.models[model].offers
        if (offer.provider, offer.upstream_id) == place
    )


async def test_a_price_that_is_set_holds_over_every_list_and_under_the_file(desk):
    kept = await set_price(desk, GPT, priced({"input": "3", "output": "9"}))
    assert kept.version.startswith("api-")
    assert price_at(await stocked(desk), GPT) == kept
    mine = ModelSettings(
        id="openai/gpt-4o",
        offers=(
            OfferSettings(
                provider="openai", upstream_id="gpt-4o", price={"input": "1", "output": "1"}
            ),
        ),
    )
    assert price_at(await stocked(desk, mine), GPT).version == "settings"
    without = ModelSettings(
        id="openai/gpt-4o", offers=(OfferSettings(provider="openai", upstream_id="gpt-4o"),)
    )
    assert price_at(await stocked(desk, without), GPT) == kept


async def test_a_price_may_begin_later_and_the_one_before_is_never_lost(desk):
    now = desk.clock.wall_ms()
    first = await set_price(desk, GPT, priced({"input": "3", "output": "9"}))
    later = await set_price(desk, GPT, priced({"input": "4", "output": "9"}), now + 60_000)
    catalog = SqlCatalog(desk.database)
    assert (await catalog.read(now)).prices == {GPT: first}
    assert (await catalog.read(now)).next_ms == now + 60_000
    assert (await catalog.read(now + 60_000)).prices == {GPT: later}
    desk.clock.pass_s(61)
    await set_price(desk, GPT, None)
    assert (await catalog.read(desk.clock.wall_ms())).prices == {}
    assert price_at(await stocked(desk), GPT).version.startswith("genai-prices")
    assert [row.valid_from_ms for row in await price_history(desk.database, GPT)] == [
        now + 61_000,
        now + 60_000,
        now,
    ]


@pytest.mark.parametrize(
    ("price", "begins", "says"),
    [
        (Price(input=-1), 0, "below zero"),
        (Price(input=10**12), 0, "above any price"),
        (Price(), 0, "not known to be free"),
        (priced({"input": "1"}), -1, "now or later"),
    ],
)
async def test_a_price_that_cannot_be_is_refused_and_leaves_nothing(desk, price, begins, says):
    with pytest.raises(Fault, match=says):
        await set_price(desk, GPT, price, desk.clock.wall_ms() + begins if begins else None)
    assert await price_history(desk.database, GPT) == []
    assert await SqlCatalog(desk.database).number() == 0


async def test_models_and_offers_are_added_named_hidden_and_given_back(desk):
    await put_offer(
        desk,
        OfferWish(
            model="acme/chat",
            provider="groq",
            upstream_id="acme-1",
            context=9_000,
            can=(Capability.TOOLS,),
            free=True,
        ),
    )
    await put_offer(
        desk,
        OfferWish(
            model="openai/gpt-4o", provider="openrouter", upstream_id="openai/gpt-4o", hidden=True
        ),
    )
    await put_model(desk, ModelWish(id="openai/gpt-4o", name="Four O", aliases=("four",)))
    await put_model(desk, ModelWish(id="openai/gpt-4o-mini", hidden=True))
    shelf = await stocked(desk)
    (offer,) = shelf.resolve("acme/chat").offers
    assert (offer.price.free, offer.context, offer.can) == (True, 9_000, {Capability.TOOLS})
    assert shelf.resolve("four").model == "openai/gpt-4o"
    assert shelf.models["openai/gpt-4o"].name == "Four O"
    assert "openrouter" not in {one.provider for one in shelf.models["openai/gpt-4o"].offers}
    assert "openai/gpt-4o-mini" not in shelf.models
    await put_offer(
        desk, OfferWish(model="acme/chat", provider="groq", upstream_id="acme-1", context=7_000)
    )
    (offer,) = (await stocked(desk)).resolve("acme/chat").offers
    assert (offer.price, offer.context) == (None, 7_000)
    for name in ("acme/chat", "openai/gpt-4o", "openai/gpt-4o-mini"):
        await remove_model(desk, name)
    assert (await stocked(desk)).models == Shelf(
        merged(Lists(seed(), {}, ()), PROVIDERS), PROVIDERS
    ).models


async def test_an_offer_in_the_store_at_a_provider_that_is_gone_harms_nobody(desk):
    await put_offer(
        desk, OfferWish(model="acme/chat", provider="nobody", upstream_id="x", free=True)
    )
    assert "acme/chat" not in (await stocked(desk)).models


@pytest.mark.parametrize(
    "wish",
    [
        ModelWish(id=""),
        ModelWish(id="a b"),
        ModelWish(id="x" * 300),
        ModelWish(id="a/b", aliases=("x y",)),
        ModelWish(id="a/b", aliases=("x",) * 101),
    ],
)
async def test_a_name_that_is_none_is_refused(desk, wish):
    with pytest.raises(Fault):
        await put_model(desk, wish)


def test_what_the_file_has_set_cannot_be_set_otherwise():
    own = own_models(
        [
            ModelSettings(
                id="a/b",
                offers=(
                    OfferSettings(provider="groq", upstream_id="b", price={"input": "1"}),
                    OfferSettings(provider="openai", upstream_id="b"),
                ),
            )
        ]
    )
    lists = Lists({}, {}, own)
    assert set_in_file(lists, "a/b") == "models.a/b"
    assert set_in_file(lists, "a/b", ("groq", "b")) == "models.a/b.offers.groq"
    assert (
        set_in_file(lists, "a/b", ("openai", "b"))
        == set_in_file(lists, "c/d")
        == set_in_file(lists, "c/d", ("groq", "b"))
        == ""
    )


async def test_every_running_gateway_hears_of_a_price_within_seconds_and_calls_under_way_keep_theirs(
    tmp_path, location
):
    async with paying(tmp_path, location, model="slow", catalog={"sync_every_s": 0}) as here:
        stream = await here.client().chat.completions.create(
            model="test/model", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        await anext(aiter(stream))
        await put_offer(
            here.built.desk, OfferWish(model="acme/chat", provider="first", upstream_id="echo")
        )
        await set_price(here.built.desk, ("first", "echo"), priced({"input": "5", "output": "7"}))
        for _ in range(400):
            if "acme/chat" in here.built.shelf.models:
                break
            await asyncio.sleep(0.01)
        async for _ in stream:
            pass
        assert "settings" in (await here.call())["price"]
        await asked(here.client(), "acme/chat")
        call = await here.call()
        assert call["cost"] == 1_000 * (call["usage"]["input"] * 5 + call["usage"]["output"] * 7)
        await here.balanced()
