"""Near names: what was meant is among them, however many names there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.similar_names import MAX_NAME_CHARS, MAX_SHARED, SimilarNames

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


def test_pieces_that_all_names_share_are_passed_over():
    many = SimilarNames(f"same/model-{number:05d}" for number in range(MAX_SHARED * 2))
    assert many.closest("same/model-01234", 1) == ["same/model-01234"]
