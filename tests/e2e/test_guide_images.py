"""The guide to images, embeddings and completions: its examples run as they stand, and print what it says."""

import re

import pytest
import yaml

from gatewayz.settings import load_settings
from tests.support.guides import GUIDES, examples_from_guide, run_example
from tests.support.image_gateway import run_image_gateway


@pytest.mark.parametrize(("code", "prints"), examples_from_guide("images.md"))
async def test_an_example_does_what_the_guide_says(tmp_path, code, prints):
    async with run_image_gateway(tmp_path) as gateway:
        assert (
            await run_example(code, OPENAI_BASE_URL=f"{gateway.url}/v1", OPENAI_API_KEY=gateway.key)
            == prints
        )


def test_the_prices_of_the_guide_are_settings():
    [text] = re.findall(r"```yaml\n(.*?)```", (GUIDES / "images.md").read_text(), re.DOTALL)
    [model] = load_settings("", yaml.safe_load(text)).settings.models
    assert [offer.serves for offer in model.offers] == [("image",)] * 3
