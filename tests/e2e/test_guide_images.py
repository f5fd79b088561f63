"""The guide to images, embeddings and completions: its examples run as they stand, and print what it says."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from gatewayz.settings import loaded
from tests.support.gallery import gallery

GUIDE = (Path(__file__).parents[2] / "docs/guides/images.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", GUIDE, re.DOTALL)


@pytest.fixture
async def here(tmp_path):
    async with gallery(tmp_path) as one:
        yield one


def test_the_guide_has_its_examples():
    assert len(EXAMPLES) == 6
    assert GUIDE.count("```python") == len(EXAMPLES)


@pytest.mark.parametrize(("code", "prints"), EXAMPLES)
async def test_an_example_does_what_the_guide_says(here, code, prints):
    environment = {**os.environ, "OPENAI_BASE_URL": f"{here.url}/v1", "OPENAI_API_KEY": here.key}
    ran = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, error = await ran.communicate()
    assert ran.returncode == 0, error.decode()[-2000:]
    assert out.decode() == prints


def test_the_prices_of_the_guide_are_settings():
    [text] = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    [model] = loaded("", yaml.safe_load(text)).settings.models
    assert [offer.serves for offer in model.offers] == [("image",)] * 3
