"""Which native ids are one model: held to a table written by hand, and to what must stay apart."""

import tomllib
from pathlib import Path

import pytest

from gatewayz.catalog.grouping import canonical_of, key_of, rules, spelled
from gatewayz.catalog.seed import seed

GOLDEN = tomllib.loads((Path(__file__).parent / "golden.toml").read_text())
KNOWN = {key_of(row.model): row.model for file in seed().values() for row in file.rows}
PLACES = {(file.provider, row.id): row.model for file in seed().values() for row in file.rows}


def test_the_golden_table_has_sixty_models():
    assert len(GOLDEN) >= 60


@pytest.mark.parametrize("model", GOLDEN)
def test_every_providers_name_of_a_model_is_that_model(model):
    assert {
        provider: canonical_of(provider, native, KNOWN)
        for provider, native in GOLDEN[model].items()
    } == dict.fromkeys(GOLDEN[model], model)


@pytest.mark.parametrize("model", GOLDEN)
def test_the_seed_says_the_same(model):
    said = {
        provider: PLACES[provider, native]
        for provider, native in GOLDEN[model].items()
        if (provider, native) in PLACES
    }
    assert set(said.values()) <= {model}


def test_most_of_the_golden_table_is_in_the_seed():
    rows = [(provider, native) for places in GOLDEN.values() for provider, native in places.items()]
    assert sum(1 for row in rows if row in PLACES) > len(rows) / 2


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
    assert canonical_of(*one, KNOWN) != canonical_of(*other, KNOWN)


def test_an_id_that_nobody_knows_is_a_model_of_its_own():
    assert canonical_of("groq", "somebody/New-Model", {}) == "somebody/new-model"
    assert canonical_of("groq", "unheard-of", {}) == "groq/unheard-of"


def test_a_quantisation_is_told_and_does_not_make_another_model():
    assert spelled("together", "zai-org/GLM-4.5-Air-FP8").quantization == "fp8"
    assert spelled("huggingface", "Qwen/Qwen3-32B:groq").route == "groq"


def test_the_rules_name_each_model_once():
    listed = [
        key_of(one)
        for canonical, spellings in rules().same.items()
        for one in (canonical, *spellings)
    ]
    assert len(listed) == len(set(listed))
    aliases = [alias for names in rules().aliases.values() for alias in names]
    assert len(aliases) == len(set(aliases))
