"""The guide to images, embeddings and completions: its examples run as they stand, and print what it says."""

import re

import pytest
import yaml

from gatewayz.settings import loaded
from tests.support.gallery import gallery
from tests.support.guides import GUIDES, examples_of, printed_by


@pytest.mark.parametrize(("code", "prints"), examples_of("images.md"))
async def test_an_example_does_what_the_guide_says(tmp_path, code, prints):
    async with gallery(tmp_path) as here:
        assert (
            await printed_by(code, OPENAI_BASE_URL=f"{here.url}/v1", OPENAI_API_KEY=here.key)
            == prints
        )


def test_the_prices_of_the_guide_are_settings():
    [text] = re.findall(r"```yaml\n(.*?)```", (GUIDES / "images.md").read_text(), re.DOTALL)
    [model] = loaded("", yaml.safe_load(text)).settings.models
    assert [offer.serves for offer in model.offers] == [("image",)] * 3
