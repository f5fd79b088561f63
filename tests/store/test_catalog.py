"""Models, offers and prices set by API, on both databases.

Over every list and under the file, and known to every process within seconds.
"""

import pytest

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.operator_models import operator_models_from_settings, parse_price
from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.settings import ModelSettings, OfferSettings
from gatewayz.catalog.sources import CatalogSources, config_lock_path
from gatewayz.control.overrides import (
    ModelOverride,
    OfferOverride,
    SqlCatalogOverrides,
    delete_model,
    price_history,
    put_model,
    put_offer,
    set_price,
)
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.core.requests import Capability
from gatewayz.providers.registry import provider_rows, providers_from
from tests.support.billing_gateway import complete_chat, run_billing_gateway
from tests.support.clocks import ManualClock
from tests.support.control_transaction import control_transaction
from tests.support.databases import on_sqlite
from tests.support.running_gateway import wait_until

PROVIDERS = providers_from(provider_rows(), {}, {})
GPT = ("openai", "gpt-4o")


@pytest.fixture
def transaction(database):
    return control_transaction(database, ManualClock())


async def build_catalog(transaction, *models):
    overrides = await SqlCatalogOverrides(transaction.database).read(transaction.clock.wall_ms())
    return Catalog(
        merge_catalog(
            CatalogSources(
                seed_files(), {}, operator_models_from_settings(models), overrides=overrides
            ),
            PROVIDERS,
        ),
        PROVIDERS,
    )


def price_at(catalog, offer_key, model="openai/gpt-4o"):
    return next(
        offer.price
        for offer in catalog.models[model].offers
        if (offer.provider, offer.upstream_id) == offer_key
    )


async def test_a_price_that_is_set_holds_over_every_list_and_under_the_file(transaction):
    stored = await set_price(transaction, GPT, parse_price({"input": "3", "output": "9"}))
    assert stored is not None
    assert stored.version.startswith("api-")
    assert price_at(await build_catalog(transaction), GPT) == stored
    mine = ModelSettings(
        id="openai/gpt-4o",
        offers=(
            OfferSettings(
                provider="openai", upstream_id="gpt-4o", price={"input": "1", "output": "1"}
            ),
        ),
    )
    assert price_at(await build_catalog(transaction, mine), GPT).version == "settings"
    without = ModelSettings(
        id="openai/gpt-4o", offers=(OfferSettings(provider="openai", upstream_id="gpt-4o"),)
    )
    assert price_at(await build_catalog(transaction, without), GPT) == stored


async def test_a_price_may_begin_later_and_the_one_before_is_never_lost(transaction):
    now = transaction.clock.wall_ms()
    first = await set_price(transaction, GPT, parse_price({"input": "3", "output": "9"}))
    later = await set_price(
        transaction, GPT, parse_price({"input": "4", "output": "9"}), now + 60_000
    )
    overrides = SqlCatalogOverrides(transaction.database)
    assert (await overrides.read(now)).prices == {GPT: first}
    assert (await overrides.read(now)).next_ms == now + 60_000
    assert (await overrides.read(now + 60_000)).prices == {GPT: later}
    transaction.clock.advance(61)
    await set_price(transaction, GPT, None)
    assert (await overrides.read(transaction.clock.wall_ms())).prices == {}
    assert price_at(await build_catalog(transaction), GPT).version.startswith("genai-prices")
    assert [row.valid_from_ms for row in await price_history(transaction.database, GPT)] == [
        now + 61_000,
        now + 60_000,
        now,
    ]


@on_sqlite
@pytest.mark.parametrize(
    ("price", "begins", "says"),
    [
        (Price(input=-1), 0, "below zero"),
        (Price(input=10**12), 0, "above any price"),
        (Price(), 0, "not known to be free"),
        (parse_price({"input": "1", "output": "1"}), -1, "now or later"),
    ],
)
async def test_a_price_that_cannot_be_is_refused_and_leaves_nothing(
    transaction, price, begins, says
):
    with pytest.raises(Fault, match=says):
        await set_price(
            transaction, GPT, price, transaction.clock.wall_ms() + begins if begins else None
        )
    assert await price_history(transaction.database, GPT) == []
    assert await SqlCatalogOverrides(transaction.database).revision() == 0


async def test_models_and_offers_are_added_named_hidden_and_given_back(transaction):
    await put_offer(
        transaction,
        OfferOverride(
            model="acme/chat",
            provider="groq",
            upstream_id="acme-1",
            context=9_000,
            can=(Capability.TOOLS,),
            free=True,
        ),
    )
    await put_offer(
        transaction,
        OfferOverride(
            model="openai/gpt-4o", provider="openrouter", upstream_id="openai/gpt-4o", hidden=True
        ),
    )
    await put_model(
        transaction, ModelOverride(id="openai/gpt-4o", name="Four O", aliases=("four",))
    )
    await put_model(transaction, ModelOverride(id="openai/gpt-4o-mini", hidden=True))
    catalog = await build_catalog(transaction)
    (offer,) = catalog.resolve("acme/chat").offers
    assert (offer.price.free, offer.context, offer.can) == (True, 9_000, {Capability.TOOLS})
    assert catalog.resolve("four").model == "openai/gpt-4o"
    assert catalog.models["openai/gpt-4o"].name == "Four O"
    assert "openrouter" not in {offer.provider for offer in catalog.models["openai/gpt-4o"].offers}
    assert "openai/gpt-4o-mini" not in catalog.models
    await put_offer(
        transaction,
        OfferOverride(model="acme/chat", provider="groq", upstream_id="acme-1", context=7_000),
    )
    (offer,) = (await build_catalog(transaction)).resolve("acme/chat").offers
    assert (offer.price, offer.context) == (None, 7_000)
    for name in ("acme/chat", "openai/gpt-4o", "openai/gpt-4o-mini"):
        await delete_model(transaction, name)
    assert (await build_catalog(transaction)).models == Catalog(
        merge_catalog(CatalogSources(seed_files(), {}, ()), PROVIDERS), PROVIDERS
    ).models


async def test_an_offer_in_the_store_at_a_provider_that_is_gone_harms_nobody(transaction):
    await put_offer(
        transaction,
        OfferOverride(model="acme/chat", provider="nobody", upstream_id="x", free=True),
    )
    assert "acme/chat" not in (await build_catalog(transaction)).models


@on_sqlite
@pytest.mark.parametrize(
    "override",
    [
        ModelOverride(id=""),
        ModelOverride(id="a b"),
        ModelOverride(id="x" * 300),
        ModelOverride(id="a/b", aliases=("x y",)),
        ModelOverride(id="a/b", aliases=("x",) * 101),
    ],
)
async def test_a_name_that_is_no_name_is_refused(transaction, override):
    with pytest.raises(Fault):
        await put_model(transaction, override)


def test_what_the_file_has_set_cannot_be_set_otherwise():
    own = operator_models_from_settings(
        [
            ModelSettings(
                id="a/b",
                offers=(
                    OfferSettings(
                        provider="groq", upstream_id="b", price={"input": "1", "output": "1"}
                    ),
                    OfferSettings(provider="openai", upstream_id="b"),
                ),
            )
        ]
    )
    lists = CatalogSources({}, {}, own)
    assert config_lock_path(lists, "a/b") == "models.a/b"
    assert config_lock_path(lists, "a/b", ("groq", "b")) == "models.a/b.offers.groq"
    assert (
        config_lock_path(lists, "a/b", ("openai", "b"))
        == config_lock_path(lists, "c/d")
        == config_lock_path(lists, "c/d", ("groq", "b"))
        == ""
    )


async def test_every_running_gateway_knows_a_price_within_seconds_and_calls_under_way_keep_theirs(
    tmp_path, location
):
    async with run_billing_gateway(
        tmp_path, location, model="slow", catalog={"sync_every_s": 0}
    ) as here:
        stream = await here.client().chat.completions.create(
            model="test/model", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        await anext(aiter(stream))
        transaction = here.built.control_transaction
        assert transaction is not None
        await put_offer(
            transaction,
            OfferOverride(model="acme/chat", provider="first", upstream_id="echo"),
        )
        await set_price(
            transaction,
            ("first", "echo"),
            parse_price({"input": "5", "output": "7"}),
        )
        await wait_until(lambda: "acme/chat" in here.built.catalog.models)
        async for _ in stream:
            pass
        assert "settings" in (await here.call())["price"]["source"]
        await complete_chat(here.client(), "acme/chat")
        call = await here.call()
        assert call["cost"] == 1_000 * (call["usage"]["input"] * 5 + call["usage"]["output"] * 7)
        await here.assert_balanced()
