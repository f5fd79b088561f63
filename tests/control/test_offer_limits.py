"""Limits of an offer that an operator sets: what no model has, or is far from what is known, must be meant."""

import pytest

from tests.support.control_plane import run_control_plane
from tests.support.running_gateway import PRICE

OFFER = {"model": "made/here", "provider": "first", "upstream_id": "hello"}
KNOWN = {**OFFER, "upstream_id": "echo", "model": "test/model"}


@pytest.fixture
def kind():
    """What an operator may say is decided above the store."""
    return "sqlite"


@pytest.fixture
async def operator(location, tmp_path):
    offer = {"provider": "first", "upstream_id": "echo", "price": PRICE}
    limits = {"context": 128_000, "max_output": 16_384}
    models = [{"id": "kept/model", "offers": [{**offer, "upstream_id": "kept", **limits}]}]
    async with run_control_plane(location, tmp_path, models=models) as plane:
        await plane.operator.request("PUT", "/admin/offers", {**KNOWN, **limits})
        yield plane.operator


WRONG = {
    "a context of thousands meant": (OFFER, {"context": 128}),
    "one in characters of a library": (OFFER, {"context": 10**9}),
    "an output of a word": (OFFER, {"max_output": 1}),
    "an output beyond its context": (OFFER, {"context": 8_192, "max_output": 128_000}),
    "a context far below what was known": (KNOWN, {"context": 1_000}),
    "a context far above what was known": (KNOWN, {"context": 12_800_000}),
    "an output far below what was known": (KNOWN, {"max_output": 512}),
    "an output beyond the context that is known": (KNOWN, {"max_output": 200_000}),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_limit_that_nobody_can_mean_is_refused_unless_it_is_meant(operator, case):
    offer, limits = WRONG[case]
    refused = await operator("PUT", "/admin/offers", {**offer, **limits})
    assert refused.status == 400, refused.text
    error = refused.json()["error"]
    assert error["param"] in limits
    assert "sure: true" in error["message"]
    model = await operator.request("PUT", "/admin/offers", {**offer, **limits, "sure": True})
    [stored] = [row for row in model["offers"] if row["upstream_id"] == offer["upstream_id"]]
    assert {name: stored[name] for name in limits} == limits


@pytest.mark.parametrize(
    ("offer", "limits"),
    [
        (OFFER, {"context": 8_192, "max_output": 4_096}),
        (OFFER, {}),
        (KNOWN, {"context": 256_000, "max_output": 32_768}),
        (KNOWN, {"context": 128_000}),
    ],
)
async def test_a_usual_limit_needs_no_second_word(operator, offer, limits):
    model = await operator.request("PUT", "/admin/offers", {**offer, **limits})
    assert {name: model["offers"][0][name] for name in limits} == limits
