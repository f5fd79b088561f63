"""Every path that clients call is metered: one hold, one ending, one record a call, for whatever the registry holds."""

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select

from gatewayz.dialects.registry import CLIENTS
from gatewayz.store.sql.tables import TRANSFERS
from tests.contract.test_surfaces import ASKED, BODIES, COUNT, STREAMED, post
from tests.support.billing_gateway import run_billing_gateway
from tests.support.running_gateway import model_with_offers

SCENES = sorted({model.partition("/")[2] for model, _ in BODIES.values()})
PRICE = {"input": "1.00", "output": "2.00", "image_output": "3.00", "images": "0.01"}


@pytest.fixture
def kind():
    """One database is enough: the paths differ above the store."""
    return "sqlite"


def models():
    found: list[dict[str, Any]] = [
        model_with_offers(("first", scene), model=f"m/{scene}") for scene in (*SCENES, "fault-500")
    ]
    for one in found:
        one["offers"][0]["price"] = PRICE
    return found


def asked(path, **more):
    model, body = BODIES[path]
    fields: Any = body
    return {"model": f"m/{model.partition('/')[2]}", **fields, **more}


async def moved(here, account):
    kinds = [
        one.kind
        for one in await here.rows(
            select(TRANSFERS).where(TRANSFERS.c.account_id == account, TRANSFERS.c.call_id != "")
        )
    ]
    return Counter(kinds)


@pytest.mark.parametrize("path", CLIENTS)
async def test_a_call_is_held_settled_and_recorded_once(tmp_path, location, path):
    async with run_billing_gateway(tmp_path, location, models=models()) as here:
        answered = await post(here, path, asked(path))
        assert answered.status_code == 200, answered.text
        await here.wait_until_idle()
        (record,) = await here.calls()
        assert (record.endpoint, record.fault, record.provider) == (path, "", "first")
        kinds = await moved(here, here.account)
        assert (
            kinds["hold"],
            kinds["usage"] + kinds["overrun"] >= 1 if record.cost else kinds["usage"],
        ) == (1 if record.held else 0, bool(record.cost))
        assert await here.usage_total() == record.cost
        assert (record.cost > 0) is (path != COUNT)
        await here.assert_balanced()


@pytest.mark.parametrize("path", STREAMED)
async def test_so_is_a_streamed_one(tmp_path, location, path):
    async with run_billing_gateway(tmp_path, location, models=models()) as here:
        answered = await post(here, path, asked(path, stream=True))
        assert answered.headers["content-type"].startswith("text/event-stream")
        await here.wait_until_idle()
        (record,) = await here.calls()
        assert (record.endpoint, record.fault) == (path, "")
        assert await here.usage_total() == record.cost > 0
        await here.assert_balanced()


@pytest.mark.parametrize("path", ASKED)
async def test_a_call_that_is_refused_or_fails_has_a_record_and_costs_nothing(
    tmp_path, location, path
):
    async with run_billing_gateway(tmp_path, location, models=models()) as here:
        failed = await post(here, path, asked(path, model="m/fault-500"))
        assert failed.status_code == 502
        missing = await post(here, path, asked(path, model="m/nothing"))
        # An image's model may be meant for a provider that is not on.
        assert missing.status_code in {404, 503}, missing.text
        await here.wait_until_idle()
        first, second = await here.calls()
        assert (first.fault, first.cost, second.cost) == ("upstream_error", 0, 0)
        assert second.fault in {"unknown_model", "unavailable"}
        await here.assert_balanced()
        poor, here.key = await here.open_account(0)
        refused = await post(here, path, asked(path))
        await here.wait_until_idle()
        (record,) = await here.calls(poor)
        assert (refused.status_code, record.fault) == (402, "insufficient_credit")
        await here.assert_balanced()
