"""Servers that the operator made are listed by themselves, under their own names, within bounds."""

import json

import pytest

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.listing_prices import ListingBaseline
from gatewayz.catalog.listing_reader import MAX_OFFERS, listing_from_body
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.report import callable_models
from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.sources import CatalogSources
from gatewayz.core.calls import Principal
from gatewayz.core.clock import SystemClock
from gatewayz.providers.listing_formats import OWN_SERVER, listing_formats, own_server_format
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import ProviderSettings
from gatewayz.routing.plan import Planner
from gatewayz.routing.rules import RoutingRules
from gatewayz.simulator.answers import SCENES
from gatewayz.simulator.server import Simulator
from gatewayz.store.files.listings import FileListings
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.workers.catalog_sync import CatalogSync
from tests.fault.test_sync import RecordingBus
from tests.support.running_gateway import PATIENT
from tests.unit.test_routing import Calm, chat_request

HOUSE = Principal("house", "k")


def own_providers(**urls):
    settings = {
        name.replace("_", "-"): ProviderSettings(dialect="openai_chat", base_url=url)
        for name, url in urls.items()
    }
    return providers_from(provider_rows(), {"OPENAI_API_KEY": "k"}, settings)


@pytest.fixture
async def upstream():
    async with Simulator() as simulator:
        yield simulator


@pytest.mark.parametrize("names", [("my_vllm",), ("ollama_box", "llama-farm", "studio")])
async def test_the_models_of_own_servers_are_listed_and_what_is_listed_is_served(
    upstream, tmp_path, names
):
    providers = own_providers(**{name: f"{upstream.url}/{name}/v1" for name in names})
    ids = [name.replace("_", "-") for name in names]
    sources = CatalogSources({}, {}, ())
    catalog = Catalog(merge_catalog(sources, providers), providers)
    transport = HttpTransport(PATIENT)
    try:
        sync = CatalogSync(
            transport=transport,
            formats=listing_formats(),
            sources=sources,
            catalog=catalog,
            saved_listings=FileListings(tmp_path),
            clock=SystemClock(),
            bus=RecordingBus(),
            rng=lambda: 0.5,
        )
        assert set(ids) <= set(sync.readable_providers())
        facts = await sync.read_listings(ids)
    finally:
        await transport.close()
    assert {fact.fault for fact in facts} == {""}

    listed = {model.id for model in callable_models(catalog)}
    assert {f"{id}/{scene}" for id in ids for scene in ("echo", "hello")} <= listed
    assert len(listed) <= len(ids) * len(SCENES)
    planner = Planner(catalog, RoutingRules(), lambda: 0.5)
    for model in sorted(listed):
        plan = planner.plan(chat_request(model), HOUSE, Calm())
        assert [candidate.provider.id for candidate in plan.candidates] == [model.partition("/")[0]]


def read(provider, *ids, **row):
    body = json.dumps({"data": [{"id": id, **row} for id in ids]}).encode()
    return listing_from_body(body, provider, OWN_SERVER, ListingBaseline({}, {}, {}), 1_700_000_000)


@pytest.mark.parametrize(
    "native", ["gpt-4o", "openai/gpt-4o", "claude-sonnet-4-5", "Qwen/Qwen3-32B"]
)
def test_an_own_server_takes_no_name_and_no_call_of_another_model(native):
    providers = own_providers(my_vllm="http://x.test/v1")
    listing = read(providers["my-vllm"], native)
    assert [offer.model for offer in listing.offers] == [f"my-vllm/{native}"]
    before = Catalog(merge_catalog(CatalogSources(seed_files(), {}, ()), providers), providers)
    sources = CatalogSources(seed_files(), {"my-vllm": listing}, ())
    after = Catalog(merge_catalog(sources, providers), providers)
    assert after.resolve(native).model == before.resolve(native).model
    assert {offer.provider for offer in after.resolve(native).offers}.isdisjoint({"my-vllm"})
    (offer,) = after.resolve(f"my-vllm/{native}").offers
    assert (offer.provider, offer.upstream_id) == ("my-vllm", native)


@pytest.mark.parametrize(
    "row",
    [{"max_model_len": 32_768}, {"meta": {"n_ctx_train": 32_768}}, {"context_length": 32_768}],
)
def test_the_context_of_an_own_server_is_read_in_every_spelling(row):
    provider = own_providers(my_vllm="http://x.test/v1")["my-vllm"]
    assert read(provider, "m", **row).offers[0].context == 32_768


def test_a_list_of_an_own_server_is_bounded():
    provider = own_providers(my_vllm="http://x.test/v1")["my-vllm"]
    assert (
        len(read(provider, *(f"m{number}" for number in range(MAX_OFFERS + 10))).offers)
        == MAX_OFFERS
    )


def test_only_servers_of_openais_kind_are_asked():
    settings = {"mine": ProviderSettings(dialect="anthropic_messages", base_url="http://x.test")}
    providers = providers_from(provider_rows(), {}, settings)
    assert own_server_format(providers["mine"]) is None
    assert own_server_format(providers["openai"]) is None
