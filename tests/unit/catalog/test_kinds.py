"""Kinds of models: what is no chat model is none, whoever lists it, and what nobody serves is listed to nobody."""

import json

import pytest

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.kinds import kind_from_id, kind_from_words, kinds, why_unserved
from gatewayz.catalog.listing_prices import baseline_from_models
from gatewayz.catalog.listing_reader import listing_from_body
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.operator_models import operator_models_from_settings
from gatewayz.catalog.report import callable_models, callable_offers, why_not_callable
from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.settings import ModelSettings, OfferSettings
from gatewayz.catalog.sources import CatalogSources
from gatewayz.core.requests import ChatRequest
from gatewayz.providers.listing_formats import listing_formats
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import ProviderSettings
from gatewayz.routing.rules import RoutingRules

ROWS = provider_rows()
PROVIDERS = providers_from(ROWS, {name: "k" for row in ROWS.values() for name in row.key_env}, {})
SEED = seed_files()


@pytest.mark.parametrize(
    ("provider", "native", "kind"),
    [
        ("openai", "whisper-1", "transcription"),
        ("openai", "sora-2-pro", "video"),
        ("openai", "tts-1-hd", "speech"),
        ("openai", "gpt-4o-mini-tts", "speech"),
        ("openai", "gpt-4o-transcribe-diarize", "transcription"),
        ("openai", "gpt-realtime-mini", "realtime"),
        ("openai", "omni-moderation-latest", "moderation"),
        ("openai", "text-embedding-3-large", "embedding"),
        ("openai", "dall-e-3", "image"),
        ("openai", "babbage-002", "base"),
        ("openai", "gpt-5.1-codex-max", "responses"),
        ("openai", "o1-pro-2025-03-19", "responses"),
        ("groq", "playai-tts-arabic", "speech"),
        ("groq", "distil-whisper-large-v3-en", "transcription"),
        ("cohere", "rerank-v3.5", "rerank"),
        ("mistral", "mistral-ocr-latest", "ocr"),
        ("together", "BAAI/bge-reranker-v2-m3", "rerank"),
        ("fireworks", "accounts/fireworks/models/flux-1-schnell-fp8", "image"),
        ("google-ai-studio", "veo-3.1-fast-generate-preview", "video"),
        ("google-ai-studio", "gemini-2.5-flash-preview-tts", "speech"),
        ("google-ai-studio", "gemini-2.5-flash-native-audio-latest", "realtime"),
        ("fal", "fal-ai/kling-video/v2/master/text-to-video", "video"),
        ("fal", "fal-ai/wan/v2.2-a14b/image-to-video", "video"),
        ("fal", "fal-ai/trellis", "3d"),
        ("fal", "openai/gpt-image-2/edit", "edit"),
        ("deepinfra", "Wan-AI/Wan2.1-T2V-14B", "video"),
        ("minimax", "MiniMax-H3", "video"),
    ],
)
def test_an_id_tells_what_is_no_chat_model(provider, native, kind):
    found = kind_from_id(provider, native)
    assert found is not None and found.name == kind
    assert bool(why_unserved(provider, native)) is not bool(found.serves)


@pytest.mark.parametrize(
    ("provider", "native"),
    [
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-audio-preview"),
        ("openai", "o3-mini"),
        ("openrouter", "openai/gpt-5-pro"),
        ("alibaba-cloud", "qwen3-omni-flash"),
        ("together", "moonshotai/Kimi-K2-Instruct"),
        ("deepinfra", "microsoft/WizardLM-2-8x22B"),
        ("huggingface", "baidu/ERNIE-4.5-VL-28B"),
        ("mistral", "voxtral-small-latest"),
        ("fal", "fal-ai/wan/v2.2-5b/text-to-image"),
        ("groq", "meta-llama/llama-guard-4-12b"),
        ("novita", "wandb/some-chat"),
    ],
)
def test_what_chats_or_draws_is_served(provider, native):
    found = kind_from_id(provider, native)
    assert found is None or found.serves


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("llm", "chat"),
        ("image_generation,video", "image"),
        ("video", "video"),
        (["embedContent", "countTokens"], "embedding"),
        (["generateContent", "predictLongRunning"], "chat"),
        (["predictLongRunning"], "video"),
        (["text", "image"], "chat"),
        (["speech"], "speech"),
        ("what nobody has seen", None),
        (7, None),
        ([None, {"a": 1}], None),
        ("x" * 10_000, None),
    ],
)
def test_a_word_of_a_list_tells_the_kind_and_chat_goes_first(value, kind):
    found = kind_from_words(value)
    assert (found and found.name) == kind


def listed(provider, rows, seed=None):
    models = merge_catalog(CatalogSources(seed or {}, {}, ()), PROVIDERS)
    baseline = baseline_from_models({model.id: model for model in models})
    form = listing_formats()[provider]
    body = json.dumps({form.root: rows} if form.root else rows).encode()
    listing = listing_from_body(body, PROVIDERS[provider], form, baseline, 1_800_000_000)
    return merge_catalog(CatalogSources(seed or {}, {provider: listing}, ()), PROVIDERS)


def shown(models):
    rules = RoutingRules()
    catalog = Catalog(models, PROVIDERS, rules.lockout_reason, rules.rank)
    return {
        (offer.provider, offer.upstream_id): offer.serves or ("chat",)
        for model in callable_models(catalog)
        for offer in callable_offers(model, catalog)
    }


@pytest.mark.parametrize(
    ("provider", "rows", "served"),
    [
        (
            "openai",
            [{"id": id} for id in ("gpt-9", "whisper-2", "sora-3", "tts-2", "dall-e-4")],
            {"gpt-9": "chat", "dall-e-4": "image"},
        ),
        (
            "google-ai-studio",
            [
                {"name": "models/gemini-9", "supportedGenerationMethods": ["generateContent"]},
                {"name": "models/dream-1", "supportedGenerationMethods": ["predictLongRunning"]},
                {"name": "models/vectors-9", "supportedGenerationMethods": ["embedContent"]},
            ],
            {"gemini-9": "chat", "vectors-9": "embedding"},
        ),
        (
            "together",
            [
                {"id": "a/talk", "type": "chat"},
                {"id": "a/judge", "type": "moderation"},
                {"id": "a/paint", "type": "image"},
                {"id": "a/film", "type": "video"},
            ],
            {"a/talk": "chat", "a/paint": "image"},
        ),
        (
            "vercel-ai-gateway",
            [{"id": "a/talk", "type": "language"}, {"id": "a/rank", "type": "reranking"}],
            {"a/talk": "chat"},
        ),
    ],
)
def test_a_list_that_names_other_kinds_makes_no_chat_models_of_them(provider, rows, served):
    found = shown(listed(provider, rows))
    assert {native: surfaces[0] for (_, native), surfaces in found.items()} == served


def test_a_list_changes_no_kind_that_the_package_knows():
    rows = [{"id": "moonshotai/Kimi-K2-Instruct", "type": "video"}]
    before = shown(merge_catalog(CatalogSources(SEED, {}, ()), PROVIDERS))
    assert shown(listed("together", rows, SEED)).items() >= before.items()


def test_nothing_that_is_shown_does_something_that_is_not_served():
    for (provider, native), surfaces in shown(
        merge_catalog(CatalogSources(SEED, {}, ()), PROVIDERS)
    ).items():
        kind = kind_from_id(provider, native)
        assert kind is None or set(kind.serves) & set(surfaces), (provider, native)


def test_the_rows_of_the_package_say_what_their_ids_tell():
    for provider, file in SEED.items():
        for row in file.rows:
            assert row.unserved == why_unserved(provider, row.id), (provider, row.id)


def test_what_an_operator_says_that_it_serves_it_serves():
    own = operator_models_from_settings(
        [
            ModelSettings(
                id="acme/film",
                offers=(
                    OfferSettings(provider="fal", upstream_id="fal-ai/veo3", serves=("image",)),
                ),
            )
        ]
    )
    [model] = merge_catalog(CatalogSources({}, {}, own), PROVIDERS)
    assert why_not_callable(model.offers[0], Catalog([model], PROVIDERS)) == ""


def test_on_a_server_of_ones_own_a_name_is_only_a_name():
    own = {"box": ProviderSettings(dialect="openai_chat", base_url="http://box/v1")}
    rows = providers_from(ROWS, {"OLLAMA_HOST": "box", "OPENAI_API_KEY": "k"}, own)
    catalog = Catalog([], rows)
    for name in ("ollama/whisper-of-the-heart", "box/veo-fan-chat"):
        assert catalog.resolve(name).offers[0].unserved_reason == ""
    assert catalog.resolve("openai/whisper-1").offers[0].unserved_reason == "writes down speech"


def test_every_kind_that_nobody_serves_says_what_it_does():
    for kind in kinds():
        assert bool(kind.serves) is not bool(kind.does), kind.name
    assert ChatRequest.surface in {surface for kind in kinds() for surface in kind.serves}
