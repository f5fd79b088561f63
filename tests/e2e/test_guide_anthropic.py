"""The guide to Anthropic's API: its examples run as they stand, and print what it says."""

import pytest

from tests.support.guides import examples_from_guide, run_example
from tests.support.running_gateway import run_gateway


@pytest.mark.parametrize(("code", "prints"), examples_from_guide("anthropic.md"))
async def test_an_example_does_what_the_guide_says(tmp_path, code, prints):
    async with run_gateway(tmp_path) as here:
        assert (
            await run_example(code, ANTHROPIC_BASE_URL=here.url, ANTHROPIC_API_KEY=here.key)
            == prints
        )
