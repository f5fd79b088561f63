"""The guide to Anthropic's API: its examples run as they stand, and print what it says."""

import pytest

from tests.support.guides import examples_of, printed_by
from tests.support.house import house


@pytest.mark.parametrize(("code", "prints"), examples_of("anthropic.md"))
async def test_an_example_does_what_the_guide_says(tmp_path, code, prints):
    async with house(tmp_path) as here:
        assert (
            await printed_by(code, ANTHROPIC_BASE_URL=here.url, ANTHROPIC_API_KEY=here.key)
            == prints
        )
