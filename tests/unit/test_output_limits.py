"""What is held for an answer, and the limit that its provider is told: decided by values alone."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gatewayz.catalog.offers import Offer
from gatewayz.catalog.pricing import estimate_prompt_tokens
from gatewayz.core.calls import Call, Principal
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.conversation import Audio, Message, OpaqueTool, Text
from gatewayz.core.estimates import text_tokens
from gatewayz.core.events import BlockDelta, BlockStarted, Frame, Kind, UsageReported
from gatewayz.core.money import Nanos, Price, Tier, rates_of
from gatewayz.core.requests import ChatRequest, Effort, ImageRequest, Sampling
from gatewayz.core.usage import Usage
from gatewayz.engine.call_state import CallState
from gatewayz.engine.charge import EXTEND_AT, Allowance
from gatewayz.engine.output_limits import (
    LEAST_TOKENS,
    CallEstimate,
    OutputKind,
    output_bound,
    output_kind,
)
from gatewayz.engine.usage_bounds import MAX_UNASKED_SEARCHES, SPECIAL_TOKENS, bound_usage
from gatewayz.ledger.batch import LedgerBatch
from gatewayz.ledger.orders import HoldOrder
from gatewayz.ledger.values import Wallet
from gatewayz.ports.books import Hold
from gatewayz.providers.registry import provider_rows
from gatewayz.providers.spec import Provider, Quirks
from gatewayz.routing.candidates import Candidate
from gatewayz.routing.plan import Plan
from tests.support.examples import examples

DOLLAR = 10**9
STEP = 4_096
HELLO = (Message("user", (Text("Hello there"),)),)
MILLION_DOLLARS = 1_000_000
"""Pico-dollars a token of $1 per million."""


def chat(**more):
    return ChatRequest(dialect="openai_chat", model="m", messages=HELLO, **more)


def candidate(usd=2.0, quirks=None, **offer):
    pico = round(usd * MILLION_DOLLARS)
    given_offer = {
        "price": Price(input=pico // 4, output=pico, reasoning=pico),
        "max_output": 16_384,
        "upstream_id": "u",
    }
    return Candidate(
        offer=Offer(model="m", provider="p", **{**given_offer, **offer}),
        provider=Provider(
            id="p",
            name="P",
            dialect="openai_chat",
            base_url="http://p",
            quirks=Quirks(**(quirks or {})),
        ),
    )


def call_of(request, name="call"):
    return Call(
        id=name,
        endpoint="/v1/chat/completions",
        request=request,
        principal=Principal("payer", "k", billing="prepaid"),
        received_at=0.0,
        received_ms=0,
        deadline=100.0,
    )


def admit(request, offered, wallet, name="call"):
    """What becomes of a call on a wallet: the ledger's answer, and the candidate as it is asked."""
    estimate = CallEstimate(call_of(request, name))
    plan = Plan(model="m", candidates=(offered,))
    batch = LedgerBatch(0, "batch")
    batch.wallets["payer"] = wallet
    order = HoldOrder(call=name, account="payer", ceiling=estimate.ceiling(plan))
    (result,) = batch.apply([order])
    hold = Hold(name, "payer", result.moved, free=result.free)
    limited = estimate.limit_outputs(plan, hold).candidates[0] if result.fault is None else None
    return result, limited, batch.wallets["payer"], estimate.terms(offered)


SHOWN = {"shown_by_model": {"": "always"}}
UNLESS = {"shown_by_model": {"^u": "unless_thinking"}}
PLAIN = {"features": ("tools",)}
THINKER = {"features": ("tools", "reasoning")}
SEARCH = OpaqueTool("anthropic_messages", {"type": "web_search_20250305"})


@pytest.mark.parametrize(
    ("request_", "offered", "kind"),
    [
        (chat(max_output=7), candidate(), "limited"),
        (chat(max_output=7, streamed=True), candidate(quirks=SHOWN), "limited"),
        (ImageRequest(dialect="d", model="m", prompt="a fox"), candidate(), "limited"),
        (chat(streamed=True), candidate(quirks=SHOWN), "shown"),
        (chat(streamed=True), candidate(**PLAIN), "shown"),
        (chat(streamed=True), candidate(quirks=UNLESS, **THINKER), "shown"),
        (chat(streamed=True, reasoning=Effort(enabled=False)), candidate(quirks=UNLESS), "shown"),
        (chat(streamed=True, reasoning=Effort(effort="high")), candidate(quirks=SHOWN), "shown"),
        # A whole answer; nobody knows; thinking that is kept, summarised, asked to be hidden.
        (chat(), candidate(quirks=SHOWN), "unseen"),
        (chat(streamed=True), candidate(), "unseen"),
        (chat(streamed=True), candidate(**THINKER), "unseen"),
        (chat(streamed=True, reasoning=Effort(budget=99)), candidate(quirks=UNLESS), "unseen"),
        (chat(streamed=True, reasoning=Effort(hidden=True)), candidate(quirks=SHOWN), "unseen"),
        # Predicted words that are rejected; sound and images; tools that the provider runs.
        (chat(streamed=True, extra={"prediction": {"content": "x"}}), candidate(**PLAIN), "unseen"),
        (chat(streamed=True, extra={"modalities": ["text", "audio"]}), candidate(**PLAIN), "unseen"),
        (chat(streamed=True), candidate(outputs=("text", "image"), **PLAIN), "unseen"),
        (chat(streamed=True, tools=(SEARCH,)), candidate(**PLAIN), "unseen"),
    ],
)  # fmt: skip
def test_the_kind_of_an_answer_says_how_it_is_held(request_, offered, kind):
    assert output_kind(request_, offered) is OutputKind(kind)


# A call of unknown length


@examples(300)
@given(
    usd=st.floats(0.01, 10.0),
    cap=st.none() | st.integers(256, 1_000_000),
    streamed=st.booleans(),
    thinks=st.booleans(),
)
def test_four_parallel_calls_without_a_limit_are_not_refused_on_one_dollar(
    usd, cap, streamed, thinks
):
    features = ("reasoning",) if thinks else ("tools",)
    offered = candidate(usd, max_output=cap, features=features)
    wallet = Wallet(account="payer", paid=DOLLAR)
    for number in range(4):
        result, limited, wallet, terms = admit(
            chat(streamed=streamed), offered, wallet, str(number)
        )
        assert result.fault is None
        assert limited.output_limit is None or limited.output_limit >= LEAST_TOKENS
    assert wallet.paid >= 0


@examples(300)
@given(
    usd=st.floats(0.01, 75.0),
    free=st.integers(0, 20 * DOLLAR),
    cap=st.integers(256, 200_000),
    choices=st.integers(1, 4),
    budget=st.none() | st.integers(1, 30_000),
)
def test_what_is_held_pays_for_what_the_provider_may_answer(usd, free, cap, choices, budget):
    request = chat(reasoning=Effort(budget=budget))
    request = replace(request, sampling=replace(request.sampling, n=choices))
    offered = candidate(usd, max_output=cap)
    wallet = Wallet(account="payer", paid=free)
    result, limited, _, terms = admit(request, offered, wallet)
    needs = min(cap, (budget or 0) + LEAST_TOKENS)
    if result.fault is not None:
        assert free < terms.amount(needs)
        return
    assert result.moved <= free
    allowed = limited.output_limit or cap
    assert needs <= allowed <= cap
    assert terms.amount(allowed) <= result.moved
    # As much as is held, and in the offer too, so that a report is bounded by it.
    assert limited.output_limit is None or terms.amount(allowed + 1) > result.moved
    assert limited.offer.max_output == allowed
    # A step where that is there; a quarter of a large wallet, on top of what thinking takes.
    step = terms.amount(min(cap, (budget or 0) + min(cap, STEP)))
    assert result.moved >= min(step, free)
    base = terms.amount(min(cap, budget or 0)) - terms.fixed
    assert result.moved <= max(step, base + free // 4)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("quirks", [{}, SHOWN, {**SHOWN, "cancel_stops_billing": True}])
def test_a_wallet_that_covers_the_cap_sees_no_difference(streamed, quirks):
    offered = candidate(quirks=quirks)
    for free in (4 * 33_000_000, 40 * DOLLAR):
        result, limited, _, _ = admit(
            chat(streamed=streamed), offered, Wallet(account="payer", paid=free)
        )
        assert result.fault is None
        assert limited is offered


@pytest.mark.parametrize(
    ("offer", "paid", "lowest", "highest"),
    [
        # What is held would fit the context, and not beside the prompt.
        ({"max_output": None, "context": 20_000}, 160_000_000, 19_900, 20_000 - 60),
        ({"max_output": None, "context": None}, DOLLAR // 2, 8_192, 8_192),
        ({"max_output": 100_000, "context": None}, DOLLAR // 2, 62_400, 62_500),
    ],
)
def test_a_limit_is_one_that_the_model_takes(offer, paid, lowest, highest):
    result, limited, _, _ = admit(chat(), candidate(**offer), Wallet(account="payer", paid=paid))
    assert result.fault is None
    assert lowest <= limited.output_limit <= highest


def test_a_stream_whose_provider_bills_on_is_told_what_everything_free_could_pay():
    wallet = Wallet(account="payer", paid=20_000_000)
    stream = chat(streamed=True)
    for cancel_stops_billing, limit in ((True, None), (False, 10_000)):
        quirks = {**SHOWN, "cancel_stops_billing": cancel_stops_billing}
        result, limited, _, terms = admit(stream, candidate(quirks=quirks), wallet)
        assert result.moved == terms.amount(STEP)
        assert limited.output_limit == (limit and pytest.approx(limit, rel=0.01))


@pytest.mark.parametrize(
    ("request_", "quirks", "offer", "held"),
    [
        # Its limit does not count what it thinks: the cap is held, and nothing is told.
        (chat(), {"limit_by_model": {"": "without_thinking"}}, {}, 16_384),
        (chat(max_output=400), {"limit_by_model": {"": "without_thinking"}}, {}, 16_384),
        # It does not think, or not now.
        (chat(max_output=400), {"limit_by_model": {"": "without_thinking"}}, PLAIN, 400),
        (chat(max_output=400, reasoning=Effort(effort="none")), {"limit_by_model": {"": "without_thinking"}}, {}, 400),
        (chat(max_output=400), {"limit_by_model": {"^other": "without_thinking"}}, {}, 400),
        # A provider that is always told a limit cannot say more than that.
        (chat(), {"always_send_limit": True}, {}, STEP),
    ],
)  # fmt: skip
def test_what_a_limit_does_not_bound_is_held(request_, quirks, offer, held):
    offered = candidate(quirks=quirks, **offer)
    result, limited, _, terms = admit(request_, offered, Wallet(account="payer", paid=DOLLAR))
    assert result.moved == terms.amount(held)
    assert limited.output_limit is None


@pytest.mark.parametrize("offer", [{}, {"max_output": None, "context": 20_000}, {"max_output": 5}])
@pytest.mark.parametrize(
    ("more", "quirks"),
    [
        ({}, {}),
        ({"streamed": True}, SHOWN),
        ({"sampling": Sampling(n=3)}, {}),
        ({"reasoning": Effort(budget=2_000)}, {"limit_by_model": {"": "without_thinking"}}),
    ],
)
def test_a_client_that_asks_for_more_than_the_model_can_say_gets_what_is_held(offer, more, quirks):
    offered = candidate(quirks=quirks, **offer)
    wallet = Wallet(account="payer", paid=DOLLAR)
    result, limited, _, terms = admit(chat(max_output=90_000, **more), offered, wallet)
    assert result.moved == terms.amount(terms.cap)
    assert limited.output_limit == limited.offer.max_output == terms.cap
    _, limited, *_ = admit(chat(max_output=terms.cap, **more), offered, wallet)
    assert limited.output_limit is None


def test_thinking_has_its_least_and_its_budget_before_the_answer():
    quirks = {"least_thinking_by_model": {"": 1_024}}
    wallet = Wallet(account="payer", paid=2_000_000)
    result, *_ = admit(chat(), candidate(quirks=quirks), wallet)
    assert result.fault is None
    for effort in (Effort(effort="high"), Effort(budget=1_000)):
        result, *_ = admit(chat(reasoning=effort), candidate(quirks=quirks), wallet)
        assert result.fault is not None


def test_a_refusal_names_the_largest_limit_that_is_paid_for_and_that_is_taken():
    for usd, streamed in ((2.0, False), (0.5, True), (10.0, True)):
        offered = candidate(usd, quirks=SHOWN)
        for paid in (100_000, 300_000, 1_000_000):
            wallet = Wallet(account="payer", paid=paid)
            result, _, _, _ = admit(chat(streamed=streamed), offered, wallet)
            if result.fault is None:
                continue
            assert result.fault.kind == "insufficient_credit"
            named = re.search(r"at most ([\d,]+) output tokens", result.fault.message)
            if named is None:
                continue
            limit = int(named[1].replace(",", ""))
            asked = chat(streamed=streamed, max_output=limit)
            assert admit(asked, offered, wallet)[0].fault is None
            more = chat(streamed=streamed, max_output=limit + 1)
            assert admit(more, offered, wallet)[0].fault is not None


# What is reported afterwards


@pytest.mark.parametrize("reported", [{"reasoning": 40_000, "output": 3}, {"output": 40_000}])
@pytest.mark.parametrize("request_", [chat(max_output=400), chat(), chat(streamed=True)])
@pytest.mark.parametrize("quirks", [{}, SHOWN])
def test_hidden_tokens_beyond_the_limit_are_never_charged_unmarked(reported, request_, quirks):
    wallet = Wallet(account="payer", paid=3_000_000)
    offered = candidate(quirks=quirks)
    result, limited, _, terms = admit(request_, offered, wallet)
    if result.fault is not None:
        # A shown stream is held by the step, which this wallet does not have.
        limited, held = offered, terms.amount(STEP)
    else:
        held = result.moved
    bound = output_bound(request_, limited)
    usage, beyond = bound_usage(
        Usage(input=3, **reported), request_, limited.offer, bound.within(12, 1)
    )
    assert usage.repaired
    assert beyond
    assert terms.amount(usage.completion) <= held
    if bound.is_shown:
        assert usage.completion <= 12 + SPECIAL_TOKENS


def test_a_report_of_what_a_limit_does_not_count_is_believed():
    outside = candidate(quirks={"limit_by_model": {"": "without_thinking"}})
    bound = output_bound(chat(max_output=400), outside)
    usage = Usage(input=3, output=400, reasoning=5_000)
    assert bound_usage(usage, chat(max_output=400), outside.offer, bound.within(9, 1)) == (
        usage,
        "",
    )


def test_a_ceiling_of_one_amount_is_held_as_it_is():
    for free in (None, 500, 10_000):
        assert Ceiling(Nanos(500)).amount(free) == 500


def test_rows_say_of_thinking_what_holds_of_their_models():
    rows = provider_rows()
    for provider, model, streamed, kind in (
        ("deepseek", "deepseek-reasoner", True, "shown"),
        ("anthropic", "claude-sonnet-4-5", True, "shown"),
        ("anthropic", "claude-fable-5", True, "unseen"),
        ("openai", "gpt-5", True, "unseen"),
        ("openrouter", "openai/o3", True, "unseen"),
        ("deepinfra", "anthropic/claude-opus-5", True, "unseen"),
        ("google-ai-studio", "gemini-2.5-pro", True, "unseen"),
    ):
        offered = candidate(**THINKER)
        offered = replace(
            offered,
            offer=replace(offered.offer, upstream_id=model),
            provider=replace(offered.provider, quirks=rows[provider].quirks),
        )
        assert output_kind(chat(streamed=streamed), offered) is OutputKind(kind), provider
    assert rows["alibaba-cloud"].quirks.limit_by_model
    assert rows["anthropic"].quirks.least_thinking_by_model == {"": 1_024}


def test_a_prompt_is_held_at_the_dearest_price_that_may_be_asked_for_it():
    pico = 2 * MILLION_DOLLARS
    price = Price(
        input=pico,
        output=pico,
        audio_input=9 * pico,
        cache_write=5 * pico,
        cache_write_1h=8 * pico,
    )
    mark = {"type": "ephemeral"}
    marked = Message("user", (Text("Hello there", extra={"cache_control": mark}),))
    hour = Message("user", (Text("Hi", extra={"cache_control": {**mark, "ttl": "1h"}}),))
    sound = Message("user", (Audio("UklGRg==", "wav"),))
    for model, messages, auto, times in (
        ("claude-sonnet-4-5", HELLO, "", 1),
        ("claude-sonnet-4-5", (marked,), "", 5),
        ("claude-sonnet-4-5", HELLO, "auto", 5),
        ("claude-sonnet-4-5", (hour,), "", 8),
        ("claude-sonnet-4-5", (hour,), "auto", 8),
        ("anthropic/claude-opus-4.1", (marked, hour), "", 8),
        # These write whenever they like, marked or not.
        ("gpt-5.6", HELLO, "", 5),
        ("qwen3.7-max", (marked,), "", 5),
        ("MiniMax-M2.5", (hour,), "", 8),
        ("gpt-4o", (sound,), "", 9),
    ):
        request = replace(chat(max_output=1), messages=messages, caching=auto)
        offered = candidate(upstream_id=model, price=price)
        fixed = CallEstimate(call_of(request)).terms(offered).fixed
        assert fixed == times * 2_000 * estimate_prompt_tokens(request), (model, times)


def test_a_model_whose_price_names_no_writing_is_held_at_its_prompts_price():
    pico = 2 * MILLION_DOLLARS
    for tiers in ((), (Tier(above=10**6, rates=rates_of(Price(input=pico, output=pico), 1)),)):
        offered = candidate(upstream_id="gpt-4o", price=Price(input=pico, output=pico, tiers=tiers))
        request = chat(max_output=1)
        fixed = CallEstimate(call_of(request)).terms(offered).fixed
        assert fixed == 2_000 * estimate_prompt_tokens(request)


SEARCH_PICO = 10**10
SEARCHES = {"web_search_options": "searches", "plugins": "searches", "enable_search": "searches"}


@pytest.mark.parametrize(
    ("extra", "costs", "searches"),
    [
        ({"web_search_options": {}}, SEARCHES, MAX_UNASKED_SEARCHES),
        ({"plugins": [{"id": "web"}]}, SEARCHES, MAX_UNASKED_SEARCHES),
        ({"enable_search": True}, SEARCHES, MAX_UNASKED_SEARCHES),
        ({"extra_body": {"enable_search": True}}, SEARCHES, MAX_UNASKED_SEARCHES),
        ({"enable_search": False}, SEARCHES, 0),
        ({"web_search_options": {}}, {"web_search_options": "requests"}, 0),
        ({"seed": 3}, SEARCHES, 0),
        ({}, SEARCHES, 0),
    ],
)
@pytest.mark.parametrize("dear", [{}, {"cache_write": 5 * MILLION_DOLLARS}])
def test_searches_that_a_field_asks_for_are_held_before_the_call(extra, costs, searches, dear):
    def fixed(price):
        offered = candidate(price=price, quirks={"field_costs": costs}, upstream_id="sonar")
        return CallEstimate(call_of(chat(max_output=1, extra=extra))).terms(offered).fixed

    plain = {"input": MILLION_DOLLARS, "output": MILLION_DOLLARS, **dear}
    each = fixed(Price(**plain, searches=SEARCH_PICO)) - fixed(Price(**plain))
    assert each == searches * SEARCH_PICO // 1_000


@pytest.mark.parametrize(
    "text",
    ["Hello there my friend, ", "8391 2204 ", "你好，世界。", "QmFzZTY0+/8=", "\n\n    ", "w" * 97],
)
def test_a_step_is_full_when_its_tokens_have_come_whatever_the_text_is_made_of(text):
    allowance = Allowance(tokens=STEP, step=STEP, amount=Nanos(1), max_tokens=10 * STEP)
    state = CallState(call_of(chat(streamed=True)))
    state.watch_allowance(allowance)
    looked, frame = 0, [Frame((BlockStarted(0, Kind.TEXT),))]
    while state.is_covered or state.watch_allowance(allowance):
        looked += not state.is_covered
        state.meter.watch(frame, None)
        frame = [Frame((BlockDelta(0, text),))]
    due = STEP * EXTEND_AT
    assert due <= state.meter.output_tokens <= due * 1.02 + text_tokens(text)
    assert not allowance.bytes_until_due(state.meter.output_tokens)
    extended = allowance.extend()
    assert extended.tokens == 2 * STEP
    assert extended.bytes_until_due(state.meter.output_tokens) > 0


def test_a_report_on_the_way_counts_where_it_says_more_than_was_shown():
    meter = CallState(call_of(chat(streamed=True))).meter
    meter.watch([Frame((UsageReported(Usage(output=3_000)),))], None)
    assert meter.output_tokens == 3_000


def test_what_is_held_pays_for_every_choice_and_the_limit_is_that_of_each():
    wallet = Wallet(account="payer", paid=DOLLAR // 10)
    limits = []
    for choices in (1, 2, 5):
        request = replace(chat(), sampling=replace(chat().sampling, n=choices))
        result, limited, _, _ = admit(request, candidate(), wallet)
        limits.append(choices * limited.output_limit)
        assert 2_000 * choices * limited.output_limit <= result.moved
    assert limits == pytest.approx([limits[0]] * 3, rel=0.7)
