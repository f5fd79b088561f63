"""Which native ids are one model: held to a table written by hand, and to what must stay apart."""

import tomllib
from pathlib import Path

import pytest

from gatewayz.catalog.canonical_ids import canonical_id, family_rules, grouping_key, parse_native_id
from gatewayz.catalog.seed import seed_files

GOLDEN = tomllib.loads((Path(__file__).parent / "golden.toml").read_text())
KNOWN = {grouping_key(row.model): row.model for file in seed_files().values() for row in file.rows}
MODELS_BY_OFFER = {
    (file.provider, row.id): row.model for file in seed_files().values() for row in file.rows
}


def test_the_golden_table_has_sixty_models():
    assert len(GOLDEN) >= 60


@pytest.mark.parametrize("model", GOLDEN)
def test_every_providers_name_of_a_model_is_that_model(model):
    assert {
        provider: canonical_id(provider, native, KNOWN)
        for provider, native in GOLDEN[model].items()
    } == dict.fromkeys(GOLDEN[model], model)


@pytest.mark.parametrize("model", GOLDEN)
def test_the_seed_says_the_same(model):
    seeded = {
        provider: MODELS_BY_OFFER[provider, native]
        for provider, native in GOLDEN[model].items()
        if (provider, native) in MODELS_BY_OFFER
    }
    assert set(seeded.values()) <= {model}


def test_most_of_the_golden_table_is_in_the_seed():
    rows = [(provider, native) for places in GOLDEN.values() for provider, native in places.items()]
    assert sum(1 for row in rows if row in MODELS_BY_OFFER) > len(rows) / 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("openai", "gpt-4-turbo"), ("openai", "gpt-4")),
        (("openai", "gpt-4o"), ("openai", "gpt-4o-2024-08-06")),
        (("openrouter", "deepseek/deepseek-r1"), ("openrouter", "deepseek/deepseek-r1:free")),
        (("openrouter", "deepseek/deepseek-chat"), ("deepseek", "deepseek-chat")),
        (("novita", "deepseek/deepseek-r1"), ("novita", "deepseek/deepseek-r1/community")),
        (
            ("together", "meta-llama/Llama-3.1-8B"),
            ("together", "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo"),
        ),
        (("openrouter", "qwen/qwen3-235b-a22b"), ("openrouter", "qwen/qwen3-235b-a22b-2507")),
        (
            ("openrouter", "meta-llama/llama-3.1-8b-instruct"),
            ("openrouter", "nousresearch/llama-3.1-8b-instruct"),
        ),
        (("mistral", "mistral-medium"), ("openrouter", "mistralai/mistral-medium")),
        (("groq", "gemma-7b-it"), ("groq", "gemma2-9b-it")),
    ],
)
def test_models_that_differ_stay_apart(one, other):
    (provider, native), (other_provider, other_native) = one, other
    assert canonical_id(provider, native, KNOWN) != canonical_id(
        other_provider, other_native, KNOWN
    )


def test_an_id_that_nobody_knows_is_a_model_of_its_own():
    assert canonical_id("groq", "somebody/New-Model", {}) == "somebody/new-model"
    assert canonical_id("groq", "unheard-of", {}) == "groq/unheard-of"


def test_a_quantisation_is_told_and_does_not_make_another_model():
    assert parse_native_id("together", "zai-org/GLM-4.5-Air-FP8").quantization == "fp8"
    assert parse_native_id("huggingface", "Qwen/Qwen3-32B:groq").route == "groq"


def test_the_rules_name_each_model_once():
    keys = [
        grouping_key(name)
        for canonical, spellings in family_rules().same.items()
        for name in (canonical, *spellings)
    ]
    assert len(keys) == len(set(keys))
    aliases = [alias for names in family_rules().aliases.values() for alias in names]
    assert len(aliases) == len(set(aliases))
