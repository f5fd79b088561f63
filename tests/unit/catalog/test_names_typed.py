"""Names that people type, with every provider on: each means its model, or is refused with the
family's own models first.
"""

from pathlib import Path

import pytest

from gatewayz.catalog.canonical_ids import family_of, family_rules
from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.operator_models import operator_models_from_settings
from gatewayz.catalog.seed import seed_files, seed_names
from gatewayz.catalog.settings import ModelSettings, OfferSettings
from gatewayz.catalog.sources import CatalogSources, Listing
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import ProviderSettings
from gatewayz.routing.plan import Planner
from gatewayz.routing.rules import RoutingRules
from tests.unit.test_routing import Calm, chat_request

RULES = RoutingRules()
TABLE = [
    line.split("\t")
    for line in (Path(__file__).parent / "names_typed.tsv").read_text().splitlines()
    if not line.startswith("#")
]


def fake_environment():
    """A value for every variable that switches a provider on."""
    names, urls = set(), set()
    for row in provider_rows().values():
        variables = [row.variables, row.account.variables if row.account is not None else {}]
        names |= {
            *row.key_env,
            *(name for group in variables for each in group.values() for name in each),
        }
        urls |= {name for name in (*names, *row.base_url_env) if "URL" in name}
        urls |= set(row.base_url_env)
    return dict.fromkeys(names, "k") | dict.fromkeys(urls, "https://x.test/v1")


def build_catalog(*models, listings=(), own=(), seed=None):
    providers = providers_from(provider_rows(), fake_environment(), dict(own))
    sources = CatalogSources(
        seed_files() if seed is None else seed,
        {listing.provider: listing for listing in listings},
        operator_models_from_settings(models),
        names=seed_names(),
    )
    merged = merge_catalog(sources, providers)
    return Catalog(merged, providers, RULES.lockout_reason, RULES.rank)


CATALOG = build_catalog()


def meaning(text, catalog=CATALOG):
    """`model`, `provider: id` of a pin, or `404 family/first-suggestion`."""
    try:
        resolved = catalog.resolve(text)
    except Fault as fault:
        assert fault.kind == "unknown_model"
        return f"404 {fault.message.partition('near it: ')[2].partition(',')[0]}"
    if resolved.pinned:
        offer = resolved.offers[0]
        return f"{offer.provider}: {offer.upstream_id}"
    return resolved.model


def test_all_providers_are_on():
    assert {name: p.off for name, p in CATALOG.providers.items() if p.off} == {}


@pytest.mark.parametrize(
    ("text", "expected"), [row[:2] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_a_typed_name_means_its_model_or_is_refused_with_its_familys_first(text, expected):
    if expected.startswith("404 "):
        # Which of the family's models is nearest may change with the seed; whose it is may not.
        assert meaning(text).startswith(expected)
    else:
        assert meaning(text) == expected


@pytest.mark.parametrize("text", [row[0] for row in TABLE])
def test_a_typed_name_is_answered_to_who_pays_or_refused_for_good_with_its_familys_first(text):
    planner = Planner(CATALOG, RULES, lambda: 0.5)
    buyer = Principal("a", "k", billing="prepaid")
    try:
        assert planner.plan(chat_request(text), buyer, Calm()).candidates
    except Fault as fault:
        near = fault.message.partition("near it: ")[2]
        assert (fault.rule.status, fault.retry_after_s) == (404, None)
        assert near.startswith(f"{family_of(text) or 'anthropic'}/")


@pytest.mark.parametrize(
    ("canonical", "spelling"),
    [
        (canonical, spelling)
        for table in (family_rules().same, family_rules().aliases)
        for canonical, spellings in table.items()
        for spelling in spellings
    ],
)
def test_every_grouped_spelling_is_a_name_that_can_be_called(canonical, spelling):
    if canonical in CATALOG.models:
        assert meaning(spelling) == canonical


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("anthropic/claude-sonnet-4-5", "anthropic/claude-sonnet-4.5"),
        ("mistral/mistral-large-latest", "mistralai/mistral-large-latest"),
        ("xai/grok-4.5", "x-ai/grok-4.5"),
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("zai/glm-4.6", "z-ai/glm-4.6"),
        ("minimax/MiniMax-M2", "minimax/minimax-m2"),
        ("moonshot/kimi-k2.6", "moonshotai/kimi-k2.6"),
        ("deepseek/deepseek-v3.2", "deepseek/deepseek-v3.2"),
        ("gemini/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("models/gemini-2.5-pro", "google/gemini-2.5-pro"),
    ],
)
def test_a_model_of_its_own_house_is_the_model_with_everybody_who_serves_it(text, model):
    resolved = CATALOG.resolve(text)
    assert (resolved.model, resolved.pinned) == (model, False)
    assert {offer.provider for offer in CATALOG.models[model].offers} <= {
        offer.provider for offer in resolved.offers
    }


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        ("vertex_ai/gemini-2.5-flash", "google-vertex: gemini-2.5-flash"),
        ("google-vertex/gemini-2.5-flash", "google-vertex: gemini-2.5-flash"),
        ("azure/gpt-4o", "azure-openai: gpt-4o"),
        ("openrouter/openai/gpt-4o", "openrouter: openai/gpt-4o"),
        ("together_ai/some/Thing", "together: some/Thing"),
        ("Groq/OpenAI/GPT-OSS-20B", "groq: openai/gpt-oss-20b"),
        ("ollama/gpt-oss:20b", "ollama: gpt-oss:20b"),
        ("anthropic/claude-of-tomorrow", "anthropic: claude-of-tomorrow"),
    ],
)
def test_a_provider_that_is_not_the_models_house_is_a_pin(text, pin):
    assert meaning(text) == pin


@pytest.mark.parametrize(
    ("text", "upstream_id", "priced"),
    [
        ("openai/gpt-4o:exacto", "openai/gpt-4o:exacto", True),
        ("gpt-4o:nitro", "openai/gpt-4o:nitro", True),
        ("GPT-4o:NITRO", "openai/gpt-4o:nitro", True),
        ("openrouter/openai/gpt-4o:floor", "openai/gpt-4o:floor", True),
        ("openai/gpt-oss-20b:free", "openai/gpt-oss-20b:free", False),
        ("deepseek/deepseek-r1:free", "deepseek/deepseek-r1:free", False),
        ("meta-llama/Llama-3.3-70B-Instruct:nitro", "meta-llama/llama-3.3-70b-instruct:nitro", True),
        ("meta-llama/llama-3.3-70b-instruct:extended", "meta-llama/llama-3.3-70b-instruct:extended", False),
        ("anthropic/claude-sonnet-4-5:online", "anthropic/claude-sonnet-4.5:online", False),
    ],
)  # fmt: skip
def test_a_suffix_decides_before_a_prefix_and_needs_no_row(text, upstream_id, priced):
    (offer,) = CATALOG.resolve(text).offers
    assert (offer.provider, offer.upstream_id) == ("openrouter", upstream_id)
    assert (offer.price is not None) == priced
    assert RULES.lock_for(offer.model).only == ("openrouter",)


def test_a_suffix_of_a_model_that_nobody_knows_is_no_model():
    assert meaning("somebody/nothing-at-all:free").startswith("404")
    assert meaning("gpt-4o:frei").startswith("404 openai/")


@pytest.mark.parametrize(
    "text",
    [
        "claude-3-5-sonnet-20240620",
        "claude-sonnet-4-5-20991231",
        "anthropic.claude-3-5-sonnet-20240620",
        "claude-opus-4-5-20240101",
    ],
)
def test_another_date_is_another_model(text):
    assert meaning(text).startswith("404 anthropic/")


def listing(provider, *ids, at=1_800_000_000):
    offers = tuple(Offer(model=model, provider=provider, upstream_id=id) for model, id in ids)
    return Listing(provider=provider, read_s=at, offers=offers)


@pytest.mark.parametrize(
    "name",
    ["claude-sonnet-4.5", "claude-sonnet-4-5", "gpt-4o", "anthropic/claude-sonnet-4-5", "GPT-4o", "grok-4.5"],
)  # fmt: skip
def test_a_list_takes_no_name_away(name):
    before = meaning(name)
    evil = [f"evil/{name.rpartition('/')[2]}", f"evil/{before.partition('/')[2]}", name.upper()]
    synced = build_catalog(listings=[listing("together", *((id, id) for id in evil))])
    assert meaning(name, synced) == before


def test_a_list_gives_no_brands_name_to_another_family():
    synced = build_catalog(
        listings=[listing("together", ("evil/claude-opus-9", "evil/claude-opus-9"))]
    )
    assert meaning("claude-opus-9", synced).startswith("404 anthropic/")
    assert meaning("evil/claude-opus-9", synced) == "evil/claude-opus-9"


def test_a_list_does_not_close_the_house_that_was_named():
    name = "anthropic/claude-of-tomorrow"
    synced = build_catalog(listings=[listing("together", (name, name))])
    assert synced.resolve(name).offers[-1].provider == "anthropic"


def own_model(id, *, provider="groq", upstream_id="u", **more):
    price = {"input": "1.00", "output": "2.00"}
    offer = OfferSettings(provider=provider, upstream_id=upstream_id, price=price)
    return ModelSettings(id=id, known_offers=False, offers=(offer,), **more)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (own_model("meta-llama/llama-3.3-70b"), "meta-llama/llama-3.3-70b"),
        (own_model("r1"), "r1"),
        (own_model("gpt5.1"), "gpt5.1"),
        (own_model("acme/fast", aliases=("openai/gpt-4o",)), "openai/gpt-4o"),
        (own_model("acme/fast", aliases=("claude-sonnet-4-5",)), "claude-sonnet-4-5"),
        (own_model("acme/fast", aliases=("sonnet-4.5",)), "sonnet-4.5"),
    ],
)
def test_what_the_operator_wrote_is_no_other_model(model, name):
    catalog = build_catalog(model)
    (offer,) = catalog.resolve(name).offers
    assert (offer.provider, offer.upstream_id) == ("groq", "u")
    assert str(offer.price.input) == "1000000"


def test_the_operators_price_holds_for_the_pin_too():
    model = own_model("acme/fast", upstream_id="openai/gpt-oss-20b")
    assert (
        build_catalog(model).resolve("groq/openai/gpt-oss-20b").offers[0].price.output == 2_000_000
    )


def test_a_provider_that_the_operator_made_is_no_familys_word():
    own = {"qwen": ProviderSettings(dialect="openai_chat", base_url="http://x.test/v1")}
    assert meaning("qwen/qwen3-32b", build_catalog(own=own)) == "qwen: qwen3-32b"


@pytest.mark.parametrize(
    "models",
    [
        (own_model("a/b"), own_model("a/b")),
        (own_model("a/b", aliases=("x",)), own_model("c/d", aliases=("x",))),
        (own_model("a/b"), own_model("c/d", aliases=("a/b",))),
    ],
)
def test_a_name_that_two_models_of_the_file_have_is_refused_by_name(models):
    with pytest.raises(Fault, match="already; a name means one model") as caught:
        operator_models_from_settings(models)
    assert caught.value.kind == "bad_request"


def test_an_offer_that_is_there_twice_is_refused_because_one_would_have_no_effect():
    twice = [
        OfferSettings(provider="groq", upstream_id="x", price={"input": price, "output": "2"})
        for price in ("1", "3")
    ]
    other = OfferSettings(provider="openai", upstream_id="x", price={"input": "1", "output": "2"})
    with pytest.raises(Fault, match=r"models\.a/b\.offers: groq/x is there twice"):
        operator_models_from_settings([ModelSettings(id="a/b", offers=(other, *twice))])
    operator_models_from_settings([ModelSettings(id="a/b", offers=(other, twice[0]))])


def test_a_name_of_several_models_that_were_always_there_means_none():
    models = [
        Model(id=id, offers=(Offer(model=id, provider="groq", upstream_id=id),))
        for id in ("a/x", "b/x")
    ]
    catalog = Catalog(models, providers_from(provider_rows(), {}, {}))
    assert catalog.find("x") is None
    assert catalog.find("A/X").model == "a/x"
