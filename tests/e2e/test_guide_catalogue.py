"""The guide to models and prices: its settings load, its commands run, its examples print what it says."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from gatewayz.catalog.price_lists import LIST_FILES, LITELLM
from gatewayz.settings import catalog_sources_from_settings, load_settings
from tests.support.package_index import (
    genai_module,
    litellm_table,
    run_package_index,
    wheel_of,
)
from tests.support.running_gateway import run_gateway

GUIDE = (Path(__file__).parents[2] / "docs/guides/catalogue.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", GUIDE, re.DOTALL)
SETTINGS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.splitlines()
]


def test_nothing_in_the_guide_is_left_out():
    assert (len(EXAMPLES), len(SETTINGS), len(COMMANDS)) == (2, 2, 9)
    assert GUIDE.count("```") == 2 * (2 * len(EXAMPLES) + len(SETTINGS) + 3)


@pytest.mark.parametrize("values", SETTINGS)
def test_the_settings_of_the_guide_are_settings(values):
    loaded = load_settings("", values)
    assert len(catalog_sources_from_settings(loaded.settings).operator_models) == len(
        values["models"]
    )


async def run_process(*command, cwd=None, **environment):
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
    table = litellm_table(new={"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06})
    (tmp_path / "litellm-1.111.0-py3-none-any.whl").write_bytes(wheel_of(LITELLM, table))
    program, *words = shlex.split(command)
    assert program == "gatewayz"
    if words[0] == "prices":
        await run_process(sys.executable, "-m", "gatewayz", "migrate", cwd=tmp_path)
    async with run_package_index() as index:
        for name in LIST_FILES:
            index.put(name, "1.0", table if name == LITELLM else genai_module())
        status, out, error = await run_process(
            *(sys.executable, "-m", "gatewayz", *words), cwd=tmp_path, UV_DEFAULT_INDEX=index.url
        )
    assert status == 0, error
    assert out or error


@pytest.mark.parametrize(("code", "prints"), EXAMPLES)
async def test_an_example_does_what_the_guide_says(tmp_path, code, prints):
    async with run_gateway(tmp_path, providers=(), **SETTINGS[0]) as gateway:
        status, out, error = await run_process(
            sys.executable,
            "-c",
            code,
            OPENAI_BASE_URL=f"{gateway.url}/v1",
            OPENAI_API_KEY=gateway.key,
        )
        assert status == 0, error
        assert out == prints
