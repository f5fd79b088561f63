"""Near names: what was meant is among them, however many names there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.similar_names import MAX_COMPARED, MAX_NAME_CHARS, SimilarNames

NAMES = sorted({row.model for file in seed_files().values() for row in file.rows})
NEAR = SimilarNames(NAMES)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("openai/gpt4o", "openai/gpt-4o"),
        ("anthropic/claude-sonet-4.5", "anthropic/claude-sonnet-4.5"),
        ("claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("Qwen/Qwen3-Coder", "qwen/qwen3-coder"),
        ("llama-3.3-70b", "meta-llama/llama-3.3-70b-instruct"),
        ("deepseek-v3.2", "deepseek/deepseek-v3.2"),
    ],
)
def test_what_was_meant_is_near(text, meant):
    assert meant in NEAR.closest(text, 3)


@given(st.sampled_from(NAMES), st.integers(0, 40), st.sampled_from("abc-./0"))
def test_a_slip_of_the_pen_is_near(name, place, letter):
    slipped = name[:place] + letter + name[place + 1 :]
    if len(name) > 12:
        assert name in NEAR.closest(slipped, 5)


@given(st.text(max_size=MAX_NAME_CHARS * 2))
def test_any_text_at_all_has_at_most_as_many_near_names(text):
    assert 1 <= len(NEAR.closest(text, 3)) <= 3
    assert len(SimilarNames(["only"]).closest(text, 3)) == 1
    assert SimilarNames([]).closest(text, 3) == []


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("claude-sonnet-9", "anthropic"),
        ("anthropic/claude-sonet", "anthropic"),
        ("sonnet", "anthropic"),
        ("GPT-9-turbo", "openai"),
        ("models/gemini-9-pro", "google"),
        ("llama3.3:70b", "meta-llama"),
        ("grok-9", "x-ai"),
        ("xai/grok-9", "x-ai"),
        ("glm-9-air", "z-ai"),
        ("qwen3:32b", "qwen"),
    ],
)
def test_a_familys_own_models_are_told_first(text, family):
    assert all(id.startswith(f"{family}/") for id in NEAR.closest(text, 3))


def test_a_catalogue_of_any_size_is_compared_as_far_as_its_bound():
    ids = [f"same/model-{number:06d}" for number in range(MAX_COMPARED * 3)]
    many = SimilarNames(ids)
    assert many.closest("same/model-001234", 1) == ["same/model-001234"]
    assert many.closest("x" * 10**6, 3)
    assert set(many.closest("model-059999", 3)) <= set(ids[:MAX_COMPARED])
