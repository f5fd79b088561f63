"""What the catalogue sells is what is charged: seed prices, tiers, changes in flight, and everything that is not sold."""

import asyncio
from typing import Any

import openai
import pytest

from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.offers import Offer
from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.sources import CatalogSources, Listing
from gatewayz.control import accounts
from gatewayz.core.money import Nanos, Price, cost, usd_text
from gatewayz.core.usage import Usage
from tests.support.billing_gateway import complete_chat, run_billing_gateway
from tests.support.prices import price_from_usd

HI: list[Any] = [{"role": "user", "content": "Tell me something, please"}]
KEYED = {
    "openai": {"base_url": "SIM/openai/v1", "key": "sk-x"},
    "groq": {"base_url": "SIM/groq/v1", "key": "sk-x"},
}
QUIET: dict[str, Any] = {"catalog": {"sync_every_s": 0}}


pytestmark = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
"""What is sold does not depend on the database; that both book alike is held elsewhere."""


async def charged(here, model, **more):
    await here.client().chat.completions.create(model=model, messages=HI, **more)
    return await here.call()


async def test_one_providers_key_is_enough_to_sell_its_models_at_the_seeds_prices(
    tmp_path, location
):
    async with run_billing_gateway(tmp_path, location, more=KEYED, **QUIET) as here:
        here.upstream.script("gpt-4o", ["echo"])
        call = await charged(here, "gpt-4o")
        usage = Usage(
            **{
                name: count
                for name, count in call["usage"].items()
                if name in {"input", "output", "cache_read"}
            }
        )
        assert call["model"] == "openai/gpt-4o"
        assert (
            call["cost"]
            == cost(
                usage, price_from_usd({"input": "2.50", "output": "10.00", "cache_read": "1.25"})
            )
            > 0
        )
        assert await here.usage_total() == call["cost"]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("openai/unheard-of", "has no price here"),
        ("openai/gpt-4o:free", "is not available on this gateway"),
        ("gpt-4o:free", "is not available on this gateway"),
        ("gpt-4o:fre", "does not exist"),
        ("zero/model", "has no price here"),
        ("held/model", "has no price here"),
    ],
)
async def test_what_is_not_sold_never_reaches_a_provider(tmp_path, location, model, says):
    zero = {
        "id": "zero/model",
        "offers": [
            {"provider": "first", "upstream_id": "zero", "price": {"input": "0", "output": "0"}}
        ],
    }
    held = Listing(
        provider="openai",
        read_s=1,
        offers=(
            Offer(
                model="held/model",
                provider="openai",
                upstream_id="held",
                quarantine_reason="input is 10.0 times above the others",
            ),
        ),
    )
    async with run_billing_gateway(
        tmp_path, location, more=KEYED, **(QUIET | {"models": [zero]})
    ) as here:
        if model == "held/model":
            here.built.catalog.replace(
                merge_catalog(
                    CatalogSources(seed_files(), {"openai": held}, ()), here.built.catalog.providers
                )
            )
        with pytest.raises(openai.NotFoundError, match=says) as caught:
            await charged(here, model)
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert not here.upstream.requests
        assert await here.usage_total() == 0


async def test_a_price_that_changes_touches_no_call_that_was_admitted(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="slow", dollars=10, **QUIET) as here:
        stream = await here.client().chat.completions.create(
            model="test/model", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        await anext(aiter(stream))
        model = here.built.catalog.models["test/model"]
        dear = Offer(
            model="test/model",
            provider="first",
            upstream_id="slow",
            price=Price(input=10**9, output=10**9, version="dear"),
        )
        here.built.catalog.replace([type(model)(id="test/model", offers=(dear,))])
        async for _ in stream:
            pass
        first = await here.call()
        await complete_chat(here.client())
        second = await here.call()
        assert first["cost"] < 10**6 < second["cost"]
        assert "settings" in first["price"]["source"]
        assert second["price"]["version"] == "dear"
        await here.assert_balanced()


async def test_tiers_are_charged_by_prompt_and_by_the_service_that_served(tmp_path, location):
    price = {"input": "1", "output": "2"}
    tiers = [
        {"above": 1_000, "price": {"input": "3", "output": "4"}},
        {"service": "priority", "price": {"input": "10", "output": "20"}},
    ]
    model = {
        "id": "test/model",
        "offers": [{"provider": "first", "upstream_id": "echo", "price": price, "tiers": tiers}],
    }
    async with run_billing_gateway(tmp_path, location, models=[model], dollars=10, **QUIET) as here:
        short, long = await charged(here, "test/model"), None
        await complete_chat(here.client(), text="word " * 2_000)
        long = await here.call()
        dear = await charged(here, "test/model", service_tier="priority")
        for call, (into, out) in ((short, (1, 2)), (long, (3, 4)), (dear, (10, 20))):
            usage = call["usage"]
            assert call["cost"] == 1_000 * (
                usage.get("input", 0) * into + usage.get("output", 0) * out
            ), usage


async def test_an_accounts_own_markup_is_charged(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="echo", **QUIET) as here:
        plain = await charged(here, "test/model")
        here.account, here.key = await here.open_account(1)
        transaction: Any = here.built.control_transaction
        await accounts.set_markup(transaction, here.account, 10_000)
        assert (await charged(here, "test/model"))["cost"] == 2 * plain["cost"]


async def test_a_call_that_fails_over_is_charged_at_the_price_of_who_served(tmp_path, location):
    model = {
        "id": "test/model",
        "offers": [
            {
                "provider": "first",
                "upstream_id": "fault-500",
                "price": {"input": "1", "output": "1"},
            },
            {"provider": "second", "upstream_id": "echo", "price": {"input": "7", "output": "9"}},
        ],
    }
    async with run_billing_gateway(tmp_path, location, models=[model], **QUIET) as here:
        call = await charged(here, "test/model")
        assert (call["provider"], call["cost"]) == (
            "second",
            1_000 * (call["usage"]["input"] * 7 + call["usage"]["output"] * 9),
        )
        await here.assert_balanced()


async def test_parallel_calls_while_the_catalog_is_replaced_all_end_well(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="echo", dollars=100, **QUIET) as here:
        models = [here.built.catalog.models["test/model"]]
        await complete_chat(here.client())

        async def replace_catalog():
            for _ in range(50):
                here.built.catalog.replace(models)
                await asyncio.sleep(0)

        client = here.client()
        answers = await asyncio.gather(
            replace_catalog(), *(complete_chat(client) for _ in range(40))
        )
        assert all(answers[1:])
        await here.assert_balanced()
        assert usd_text(Nanos(await here.usage_total())) != "0"
