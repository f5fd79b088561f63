"""The guide to models and prices: its settings load, its commands run, its examples print what it says."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from gatewayz.settings import lists_from, loaded
from tests.support.house import house

GUIDE = (Path(__file__).parents[2] / "docs/guides/catalogue.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", GUIDE, re.DOTALL)
SETTINGS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.splitlines()
]


def test_nothing_in_the_guide_is_left_out():
    assert (len(EXAMPLES), len(SETTINGS), len(COMMANDS)) == (2, 2, 7)
    assert GUIDE.count("```") == 2 * (2 * len(EXAMPLES) + len(SETTINGS) + 2)


@pytest.mark.parametrize("given", SETTINGS)
def test_the_settings_of_the_guide_are_settings(given):
    found = loaded("", given)
    assert len(lists_from(found.settings).own) == len(given["models"])


async def ran(*command, cwd=None, **environment):
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return process.returncode, out.decode(), error.decode()[-2000:]


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_of_the_guide_runs(tmp_path, command):
    (tmp_path / "gatewayz.yaml").write_text(yaml.safe_dump(SETTINGS[0]))
    program, *words = shlex.split(command)
    assert program == "gatewayz"
    status, out, error = await ran(sys.executable, "-m", "gatewayz", *words, cwd=tmp_path)
    assert status == 0, error
    assert out or error


@pytest.mark.parametrize(("code", "prints"), EXAMPLES)
async def test_an_example_does_what_the_guide_says(tmp_path, code, prints):
    async with house(tmp_path, providers=(), **SETTINGS[0]) as here:
        status, out, error = await ran(
            sys.executable, "-c", code, OPENAI_BASE_URL=f"{here.url}/v1", OPENAI_API_KEY=here.key
        )
        assert status == 0, error
        assert out == prints
