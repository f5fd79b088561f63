"""The first key of a provider: what it alone makes callable, under which variables, and where its list is asked for."""

import pytest

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.report import callable_offers
from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.sources import CatalogSources
from gatewayz.core.calls import Principal
from gatewayz.core.conversation import Message, Text
from gatewayz.core.requests import ChatRequest, ImageRequest
from gatewayz.providers.headers import auth_headers
from gatewayz.providers.listing_formats import is_moved, listing_formats, listing_url
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import ProviderSettings
from gatewayz.routing.candidates import OfferHealth
from gatewayz.routing.plan import Planner
from gatewayz.routing.rules import RoutingRules

ROWS = provider_rows()
SEED = seed_files()
OWN_IDS = {
    "azure-openai": "its ids are deployments",
    "nosana": "it serves what was deployed there",
    "ollama": "it serves what was pulled",
    "vllm": "it serves what it was started with",
    "lm-studio": "it serves what was loaded",
    "llama-cpp": "it serves what it was started with",
}
"""Providers whose ids only their owner knows: they are asked as `provider/id`."""
REAL = [name for name, row in ROWS.items() if not row.built_in]


def environment_of(name):
    row = ROWS[name]
    variables = {names[0]: "x" for names in row.variables.values()}
    local = {row.base_url_env[0]: "http://box:1/v1"} if row.local else {}
    return dict.fromkeys(row.key_env[:1], "k") | variables | local


def catalog_of(name):
    providers = providers_from(ROWS, environment_of(name), {})
    rules = RoutingRules()
    models = merge_catalog(CatalogSources(SEED, {}, ()), providers, 1_796_000_000_000)
    return Catalog(models, providers, rules.lockout_reason, rules.rank)


class Well:
    def offer_health(self, provider, upstream_id, account=""):
        return OfferHealth()

    def credential_health(self, provider, credential):
        return OfferHealth()


@pytest.mark.parametrize("name", REAL)
def test_with_one_key_and_no_list_a_provider_has_models_that_can_be_called(name):
    catalog = catalog_of(name)
    offers = [
        offer
        for model in catalog.models.values()
        for offer in callable_offers(model, catalog)
        if offer.provider == name
    ]
    assert bool(offers) is (name not in OWN_IDS), OWN_IDS.get(name)


@pytest.mark.parametrize("name", REAL)
def test_the_house_may_ask_any_provider_that_is_on_for_any_id(name):
    planner = Planner(catalog_of(name), RoutingRules(), lambda: 0.5)
    request = (
        ImageRequest(dialect="openai_images", model=f"{name}/what-nobody-lists", prompt="x")
        if name == "fal"
        else ChatRequest(
            dialect="openai_chat",
            model=f"{name}/what-nobody-lists",
            messages=(Message("user", (Text("hi"),)),),
        )
    )
    plan = planner.plan(request, Principal("a", "k"), Well())
    assert [one.provider.id for one in plan.candidates] == [name]


@pytest.mark.parametrize(
    ("name", "environment", "url"),
    [
        (
            "azure-openai",
            {"AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com/"},
            "https://res.openai.azure.com/openai/v1",
        ),
        (
            "azure-openai",
            {"AZURE_API_BASE": "https://eu.example.com/openai/v1/"},
            "https://eu.example.com/openai/v1",
        ),
        ("ollama", {"OLLAMA_HOST": "0.0.0.0"}, "http://127.0.0.1:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "box:9999"}, "http://box:9999/v1"),
        (
            "ollama",
            {"OLLAMA_HOST": "https://llm.example.com:443"},
            "https://llm.example.com:443/v1",
        ),
        ("ollama", {"OLLAMA_HOST": "[::1]"}, "http://[::1]:11434/v1"),
        ("ollama", {"OLLAMA_API_BASE": "http://box:11434"}, "http://box:11434/v1"),
        ("ollama", {"OLLAMA_BASE_URL": "http://a/v1", "OLLAMA_HOST": "b"}, "http://a/v1"),
        ("groq", {"GROQ_BASE_URL": "https://p.example.com"}, "https://p.example.com/openai/v1"),
        ("openai", {"OPENAI_API_BASE": "http://p/v1"}, "http://p/v1"),
        ("anthropic", {"ANTHROPIC_API_BASE": "http://p"}, "http://p"),
        (
            "aws-bedrock",
            {"AWS_DEFAULT_REGION": "eu-west-1"},
            "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1",
        ),
        ("aws-bedrock", {}, "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1"),
        (
            "google-vertex",
            {
                "VERTEXAI_PROJECT": "p",
                "VERTEXAI_LOCATION": "us-east5",
                "GOOGLE_APPLICATION_CREDENTIALS": "/x",
            },
            "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5",
        ),
    ],
)
def test_variables_that_other_programs_read_say_where_a_provider_is(name, environment, url):
    keys = {} if name in {"google-vertex", "ollama"} else {ROWS[name].key_env[0]: "k"}
    provider = providers_from(ROWS, keys | environment, {})[name]
    assert (provider.base_url, provider.off) == (url, "")


def test_an_empty_variable_is_none_and_settings_go_first():
    assert providers_from(ROWS, {"OLLAMA_HOST": " "}, {})["ollama"].off
    settings = {"ollama": ProviderSettings(base_url="http://set/v1")}
    found = providers_from(ROWS, {"OLLAMA_HOST": "box"}, settings)["ollama"]
    assert found.base_url == "http://set/v1"


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({"ANTHROPIC_AUTH_TOKEN": "t"}, ("Authorization", "Bearer t")),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_AUTH_TOKEN": "t"}, ("x-api-key", "k")),
    ],
)
def test_a_token_for_anthropic_goes_as_its_sdk_sends_it(environment, header):
    provider = providers_from(ROWS, environment, {})["anthropic"]
    assert provider.off == ""
    [sent] = auth_headers(provider, provider.credentials[0])
    assert (sent[0].lower(), sent[1]) == (header[0].lower(), header[1])


@pytest.mark.parametrize("name", sorted(listing_formats()))
def test_a_base_url_that_is_set_is_where_the_list_is_asked_for(name):
    path = ROWS[name].base_url.partition("://")[2].partition("/")[2].rstrip("/")
    for prefix in ("", "/behind/a/proxy"):
        base = f"http://proxy.local:8{prefix}/{path}".rstrip("/")
        settings = {name: ProviderSettings(base_url=base, key="k")}
        provider = providers_from(ROWS, environment_of(name), settings)[name]
        url = listing_url(provider, listing_formats()[name])
        assert url.startswith(f"http://proxy.local:8{prefix}/"), url
        assert is_moved(provider)


@pytest.mark.parametrize(
    ("name", "base", "url"),
    [
        ("cohere", "http://m/compatibility/v1", "http://m/v1/models?page_size=1000&endpoint=chat"),
        (
            "cohere",
            "http://m/co/compatibility/v1/",
            "http://m/co/v1/models?page_size=1000&endpoint=chat",
        ),
        ("onerouter", "http://m:1/v1", "http://m:1/api/display_models/"),
        ("helicone", "http://m/h/v1", "http://m/h/v1/public/model-registry/models"),
        ("aihubmix", "http://m/elsewhere", "http://m/api/v1/models"),
        ("aihubmix", "", "https://aihubmix.com/api/v1/models"),
        ("openai", "http://m/v1", "http://m/v1/models"),
    ],
)
def test_a_list_with_an_address_of_its_own_moves_with_the_provider(name, base, url):
    settings = {name: ProviderSettings(base_url=base, key="k")}
    provider = providers_from(ROWS, {}, settings)[name]
    assert listing_url(provider, listing_formats()[name]) == url
