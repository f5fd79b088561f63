"""Money: cost is exact, monotone and never negative, whatever the tier; prices are read from text or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gatewayz.core.faults import Fault
from gatewayz.core.money import (
    BASIS_POINTS,
    Price,
    cost,
    price_from_pico,
    rates_of,
    usd_text,
)
from gatewayz.core.usage import BUCKETS, SERVICES, Usage
from tests.support.chat_wire import reply_of
from tests.support.examples import examples
from tests.support.prices import price_from_usd

counts = st.integers(0, 10**7)
rates = st.integers(0, 10**8)
usages = st.builds(
    Usage, **dict.fromkeys(BUCKETS, counts), service=st.sampled_from(["", *SERVICES])
)
listed = st.dictionaries(st.sampled_from(BUCKETS), rates)


@st.composite
def prices(draw):
    """Prices with tiers in which a longer prompt is never cheaper."""
    base = draw(listed)
    tiers = {
        (
            draw(st.sampled_from(["", *SERVICES])),
            draw(st.sampled_from([0, 128_000, 200_000])),
        ): draw(listed)
        for _ in range(draw(st.integers(0, 3)))
    }
    tiers.pop(("", 0), None)
    try:
        price = price_from_pico(base, tiers)
    except Fault:
        price = price_from_pico(base, {key: own for key, own in tiers.items() if key[1] == 0})
    return replace(price, markup_bp=draw(st.integers(0, 10_000)))


@examples(500)
@given(usages, prices(), st.sampled_from(BUCKETS))
def test_cost_is_exact_monotone_and_never_negative(usage, price, bucket):
    tier_rates = rates_of(price, usage.prompt, usage.service)
    exact = sum(
        getattr(usage, name) * rate for name, rate in zip(BUCKETS, tier_rates, strict=True)
    ) * (BASIS_POINTS + price.markup_bp)
    amount = cost(usage, price)
    assert (amount - 1) * 10**7 < exact <= amount * 10**7 or amount == exact == 0
    more = replace(usage, **{bucket: getattr(usage, bucket) + 1})
    assert cost(more, price) >= amount >= 0
    assert cost(usage, price, 0) <= amount


@given(prices())
def test_the_tiers_of_a_price_are_whole_and_in_order(price):
    keys = [(tier.service, tier.above) for tier in price.tiers]
    assert keys == sorted(set(keys))
    assert {len(tier.rates) for tier in price.tiers} <= {len(BUCKETS)}
    above = {tier.above for tier in price.tiers if not tier.service}
    for service in {tier.service for tier in price.tiers}:
        assert above <= {tier.above for tier in price.tiers if tier.service == service}


def test_a_million_calls_of_one_token_are_exact():
    price = price_from_usd({"input": "0.05", "output": "0.1"})
    usage = Usage(input=1)
    assert sum(cost(usage, price) for _ in range(1_000_000)) == 1_000_000 * 50


PRO = price_from_pico(
    {"input": 1_250_000, "output": 10_000_000, "cache_read": 125_000},
    {
        ("", 200_000): {"input": 2_500_000, "output": 15_000_000},
        ("flex", 0): {"input": 625_000, "output": 5_000_000},
        ("priority", 0): {"input": 2_000_000, "output": 20_000_000},
    },
)


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(input=200_000), "0.25"),
        (Usage(input=200_001), "0.5000025"),
        (Usage(input=100_000, cache_read=100_001, output=1_000_000), "15.27500025"),
        (Usage(input=1_000, output=1_000, service="flex"), "0.005625"),
        (Usage(input=1_000, reasoning=1_000, service="priority"), "0.022"),
        (Usage(input=300_000, output=1_000_000, service="priority"), "20.75"),
        (Usage(input=1_000, service="scale"), "0.00125"),
    ],
)
def test_the_tier_is_that_of_the_prompt_and_of_the_service(usage, usd):
    assert usd_text(cost(usage, PRO)) == usd


def test_a_longer_prompt_is_never_cheaper():
    with pytest.raises(Fault, match="lower than below"):
        price_from_pico({"input": 2, "output": 2}, {("", 1_000): {"input": 1, "output": 2}})


def test_prices_are_read_from_text_and_fall_back():
    price = price_from_usd({"input": "2.50", "output": "10.00", "cache_read": "1.25"})
    assert (price.input, price.output, price.cache_read, price.reasoning, price.cache_write) == (
        2_500_000,
        10_000_000,
        1_250_000,
        10_000_000,
        2_500_000,
    )
    assert usd_text(cost(Usage(input=1_000_000), price)) == "2.5"


@pytest.mark.parametrize(
    "figures",
    [
        {"input": "-1"},
        {"input": "NaN"},
        {"input": "1e9"},
        {"input": "a"},
        {"inputs": "1"},
        {"input": "0.0000001"},
    ],
)
def test_a_price_that_is_none_is_refused(figures):
    with pytest.raises(Fault):
        price_from_usd(figures)


def test_a_markup_is_added_and_an_accounts_own_takes_its_place():
    price = Price(input=1_000_000, markup_bp=550)
    usage = Usage(input=1_000)
    assert [cost(usage, price), cost(usage, price, 0), cost(usage, price, 10_000)] == [
        1_055_000,
        1_000_000,
        2_000_000,
    ]


@pytest.mark.parametrize(
    ("reported", "service"),
    [("priority", "priority"), ("flex", "flex"), ("default", ""), (None, ""), (["priority"], "")],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_the_service_tier_that_served_is_read(reported, service, streamed):
    import json

    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    head = {"id": "c", "model": "m", "service_tier": reported}
    if streamed:
        chunks = [
            {**head, "choices": [{"index": 0, "delta": {"content": "x"}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": usage},
        ]
        wire = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    else:
        wire = json.dumps(
            {
                **head,
                "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}],
                "usage": usage,
            }
        )
    reply = reply_of(wire.encode(), "text/event-stream" if streamed else "application/json")
    assert reply.usage is not None
    assert reply.usage.service == service
