"""Web searches that a provider makes: held before, paid each, shown in the reckoning, and not sold where they have no price."""

import anthropic
import pytest

from gatewayz.core.money import Price, Tier, rates_of
from gatewayz.core.usage import BUCKETS
from tests.support.billing_gateway import DOLLAR, run_billing_gateway

HI = [{"role": "user", "content": "When was Claude Shannon born?"}]
SEARCH_NANOS = 10_000_000
PRICE = {"input": "1.00", "output": "2.00"}
pytestmark = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)


def sold(price):
    return [
        {
            "id": "test/model",
            "offers": [{"provider": "first", "upstream_id": "search", "price": price}],
        }
    ]


def house(tmp_path, location, price, dollars=1.0):
    return run_billing_gateway(
        tmp_path, location, dialect="anthropic_messages", models=sold(price), dollars=dollars
    )


async def searched(here, **tool):
    tools = [{"type": "web_search_20250305", "name": "web_search", **tool}]
    return await here.anthropic_client().messages.create(
        model="test/model", messages=HI, max_tokens=100, tools=tools
    )


async def test_a_search_is_paid_to_the_nano_dollar_and_shown(tmp_path, location):
    async with house(tmp_path, location, PRICE | {"searches": "0.01"}) as here:
        reply = await searched(here, max_uses=1)
        call = await here.call()
        owed = 1_000 * reply.usage.input_tokens + 2_000 * reply.usage.output_tokens + SEARCH_NANOS
        assert call["usage"]["searches"] == 1
        assert call["cost"] == await here.usage_total() == owed
        http = here.anthropic_client()._client
        shown = (
            await http.get(
                f"{here.url}/v1/calls/{call['id']}", headers={"authorization": f"Bearer {here.key}"}
            )
        ).json()
        (line,) = [
            line for line in shown["cost_breakdown"]["lines"] if line["bucket"] == "searches"
        ]
        assert (line["units"], line["price"], line["amount"], line["per"]) == (1, "0.01", "0.01", 1)
        await here.assert_balanced()


@pytest.mark.parametrize(
    ("tool", "dollars"), [({"max_uses": 5}, 0.04), ({}, 0.09), ({"max_uses": 10**15}, 1.0)]
)
async def test_searches_that_the_wallet_cannot_pay_are_refused_before_anybody_is_asked(
    tmp_path, location, tool, dollars
):
    async with house(tmp_path, location, PRICE | {"searches": "0.01"}, dollars) as here:
        with pytest.raises(anthropic.APIStatusError) as refused:
            await searched(here, **tool)
        assert refused.value.status_code == 402
        assert not here.upstream.requests
        assert (await here.wallet()).paid == round(dollars * DOLLAR)
        assert await searched(here, max_uses=1)
        await here.assert_balanced()


async def test_searches_without_a_price_are_not_sold(tmp_path, location):
    async with house(tmp_path, location, PRICE) as here:
        with pytest.raises(anthropic.APIStatusError) as refused:
            await searched(here)
        assert refused.value.status_code == 400
        assert "'tools[0]' makes web searches" in str(refused.value)
        assert not here.upstream.requests
        assert await here.anthropic_client().messages.create(
            model="test/model", messages=HI, max_tokens=100
        )


def test_a_tier_that_was_written_before_a_bucket_was_known_says_nothing_of_it(kind):
    old = Price(input=5, tiers=(Tier(above=10, rates=(7, *(0,) * 13)),))
    assert len(rates_of(old, 11)) == len(BUCKETS)
    assert rates_of(old, 11)[0] == 7
