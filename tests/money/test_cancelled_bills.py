"""What a provider bills after an answer was broken off, against what the customer is charged: by the simulator's invoice, for
each kind of provider; every provider's kind stands in `docs/reference/proof.md`.
"""

from pathlib import Path
from typing import NamedTuple

import pytest

from gatewayz.providers.registry import provider_rows
from tests.support.billing_gateway import abort_call, complete_chat, run_billing_gateway
from tests.support.running_gateway import model_with_offers

PROOF = Path(__file__).parents[2] / "docs" / "reference" / "proof.md"
CHATS = ("openai_chat", "anthropic_messages", "gemini")
STEP = 4_096
ROUNDING = 64
"""Tokens by which two ways of counting one answer may differ."""


class Kind(NamedTuple):
    """What decides the bill of an answer that is broken off."""

    dialect: str
    stops: bool


def kinds():
    """Kind → the providers of it that are paid for."""
    found: dict[Kind, list[str]] = {}
    for name, row in sorted(provider_rows().items()):
        if row.dialect in CHATS and not row.free:
            found.setdefault(Kind(row.dialect, row.quirks.cancel_stops_billing), []).append(name)
    return found


@pytest.fixture
def kind():
    """One database is enough: what is billed is decided above the store."""
    return "sqlite"


def running(tmp_path, location, one, dollars):
    return run_billing_gateway(
        tmp_path,
        location,
        dollars=dollars,
        dialect=one.dialect,
        quirks={"cancel_stops_billing": one.stops, "shown_by_model": {"": "always"}},
        models=[model_with_offers(("first", "story-slow"), max_output=60_000)],
    )


async def bill_of(here, one):
    """Tokens of the last answer: billed by its provider, and charged to the customer."""
    record, invoice = await here.call(), here.upstream.invoices[-1]
    billed = invoice.sent_tokens if one.stops else invoice.completion_tokens
    usage = record["usage"]
    await here.assert_balanced()
    return billed, usage.get("output", 0) + usage.get("reasoning", 0), record


@pytest.mark.parametrize("one", kinds(), ids=str)
async def test_of_a_client_that_leaves_the_house_pays_less_than_a_step(tmp_path, location, one):
    async with running(tmp_path, location, one, 100) as here:
        await abort_call(here, streamed=True, after=6)
        billed, charged, record = await bill_of(here, one)
        assert record["fault"] == "client_gone"
        if one.stops:
            assert abs(billed - charged) < STEP
        else:
            # It is heard to its end, and paid as far as it was held.
            assert charged == pytest.approx(billed, rel=0.01) or record["cost"] == record["held"]


@pytest.mark.parametrize("one", kinds(), ids=str)
async def test_where_nothing_more_can_be_held_the_house_pays_less_than_a_step(
    tmp_path, location, one
):
    async with running(tmp_path, location, one, 0.025) as here:
        await complete_chat(here.client(), stream=True)
        billed, charged, record = await bill_of(here, one)
        assert record["stop"] in {"length", "max_tokens", "MAX_TOKENS"}
        assert record["cost"] <= record["held"]
        assert billed - charged <= STEP + ROUNDING


def test_the_kind_of_every_provider_stands_in_the_proof():
    lines = PROOF.read_text().splitlines()
    for one, providers in kinds().items():
        word = "what was sent" if one.stops else "its whole answer, up to its limit"
        listed = f"| {word} | `{one.dialect}` | {', '.join(providers)} |"
        assert any(line.startswith(listed) for line in lines), listed
