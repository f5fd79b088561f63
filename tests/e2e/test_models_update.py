"""`gatewayz models update` against an index on a real socket: what it takes over, what it refuses, what it says when it cannot."""

import asyncio
import json
import os
import sys

import pytest

from gatewayz.catalog.price_lists import GENAI, LITELLM
from gatewayz.catalog.sources import SeedUpdate
from gatewayz.store.files.listings import FileSeedUpdate
from tests.support.package_index import (
    genai_module,
    litellm_table,
    run_package_index,
    wheel_of,
)
from tests.support.running_gateway import run_gateway, wait_until

NEW = {"grok-99": {"input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06}}
DEAR = {"grok-98": {"input_cost_per_token": 0.2, "output_cost_per_token": 8e-06}}
GROQ = ("openai/gpt-oss-20b", "0.075", "0.3")
"""A model that the package has from this list, with its price there."""


async def run(folder, *words, **environment):
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_")) and not name.endswith(("_API_KEY", "_TOKEN"))
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gatewayz",
        *words,
        cwd=folder,
        env={**clean, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    assert "Traceback" not in error.decode()
    return process.returncode, out.decode(), error.decode()


@pytest.fixture
async def index():
    async with run_package_index() as one:
        one.put(LITELLM, "1.0.9", litellm_table(old={"input_cost_per_token": 1e-06}))
        one.put(LITELLM, "1.0.10", litellm_table(**NEW, **DEAR))
        one.put(LITELLM, "1.0.11rc1", b"{}")
        one.put(LITELLM, "2.0.0", b"{}", yanked=True)
        one.put_file("litellm-3.0.0.tar.gz", b"no wheel")
        one.put(GENAI, "0.9.0", genai_module(**{GROQ[0]: ("0.09", "0.3")}))
        yield one


def update_of(folder) -> SeedUpdate | None:
    return FileSeedUpdate(folder / "data").load()


@pytest.mark.parametrize("as_json", [True, False])
async def test_newer_prices_are_shown_and_taken_over_when_that_is_meant(tmp_path, index, as_json):
    index.as_json = as_json
    words = ("models", "update", "--index", index.url)
    status, out, error = await run(tmp_path, *words)
    assert status == 0, error
    assert "litellm 1.0.10, genai-prices 0.9.0: 1 prices differ, 1 offers are new" in out
    assert "groq/openai/gpt-oss-20b: input 0.075 → 0.09" in out
    assert "xai/grok-99: new: 2 / 8" in out
    assert "xai/grok-98: input is above" in out
    assert "--yes" in error
    assert update_of(tmp_path) is None

    status, _, error = await run(tmp_path, *words, "--yes")
    assert status == 0, error
    update = update_of(tmp_path)
    assert update is not None
    assert update.sources == {LITELLM: "1.0.10", GENAI: "0.9.0"}
    keys = {"XAI_API_KEY": "k", "GROQ_API_KEY": "k"}
    _, out, _ = await run(tmp_path, "models", "--all", "--json", **keys)
    offers = {
        (offer["provider"], offer["upstream_id"]): offer
        for model in json.loads(out)
        for offer in model["offers"]
    }
    assert offers["xai", "grok-99"]["price"] == "2 / 8"
    assert offers["groq", GROQ[0]]["price"] == "0.09 / 0.3"
    assert offers["groq", GROQ[0]]["source"] == "genai-prices 0.9.0"
    assert ("xai", "grok-98") not in offers

    status, out, error = await run(tmp_path, "models", "update", "--json", PIP_INDEX_URL=index.url)
    assert status == 0, error
    told = json.loads(out)
    assert {change["offer"] for change in told["changes"]} == {
        "groq/openai/gpt-oss-20b",
        "xai/grok-99",
    }


async def test_a_running_gateway_takes_an_update_over(tmp_path, index):
    seeded = {"seed": True, "sync_every_s": 0}
    async with run_gateway(
        tmp_path, models=[], catalog=seeded, more={"xai": {"base_url": "SIM/v1", "key": "k"}}
    ) as gateway:
        assert "x-ai/grok-99" not in gateway.built.catalog.models
        before = gateway.built.sync.seed_age_s()[()]
        words = (
            "models",
            "update",
            "--index",
            index.url,
            "--data-dir",
            str(tmp_path / "data"),
            "--yes",
        )
        status, _, error = await run(tmp_path, *words)
        assert status == 0, error
        await wait_until(lambda: "x-ai/grok-99" in gateway.built.catalog.models)
        assert gateway.built.sync.seed_age_s()[()] < max(before, 60)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("hash", "is not the file that the index names: its SHA-256 is"),
        ("status", "answered 503"),
        ("no zip", "the wheel has no litellm/model_prices"),
        ("no json", "litellm's table is not what it was"),
        ("other json", "litellm's table is not what it was"),
        ("bomb", "bytes"),
        ("unlisted", "lists no wheel of litellm with its hash"),
    ],
)
async def test_what_is_wrong_with_a_list_is_said_and_nothing_of_it_is_kept(
    tmp_path, spoil, message
):
    async with run_package_index() as index:
        index.put(GENAI, "0.9.0", b"providers: list = []")
        if spoil in {"hash", "status"}:
            index.put(LITELLM, "1.0.0", litellm_table(**NEW))
            index.wrong_hash = spoil == "hash"
            index.status = 503 if spoil == "status" else 200
        elif spoil == "no zip":
            index.put_file("litellm-1.0.0-py3-none-any.whl", b"PK nothing")
        elif spoil == "bomb":
            index.put(LITELLM, "1.0.0", b" " * (40 * 2**20))
        elif spoil != "unlisted":
            index.put(LITELLM, "1.0.0", b"{" if spoil == "no json" else b"[1, 2]")
        words = ("models", "update", "--index", index.url, "--yes")
        status, _, error = await run(tmp_path, *words)
        assert status == 1
        assert message in error
        update = update_of(tmp_path)
        assert update is None or LITELLM not in update.sources


async def test_offline_it_says_what_it_could_not_reach(tmp_path):
    async with run_package_index() as index:
        url = index.url
    status, _, error = await run(tmp_path, "models", "update", "--index", url, "--yes")
    assert status == 1
    for name in (LITELLM, GENAI):
        assert f"{name} was not read: {url}/{name}/ could not be read" in error
    assert "nothing is changed" in error
    assert update_of(tmp_path) is None


async def test_a_name_and_password_of_an_index_go_there_and_nowhere_else(tmp_path, index):
    url = index.url.replace("http://", "http://me:s%40cret@")
    status, out, error = await run(tmp_path, "models", "update", "--index", url)
    assert status == 0, error
    sent = {headers.get("Authorization") for _, headers in index.requests}
    assert sent == {"Basic bWU6c0BjcmV0"}
    index.status = 500
    _, out, error = await run(tmp_path, "models", "update", "--index", url)
    assert "cret" not in out + error


async def test_a_wheel_that_is_there_already_is_read_without_an_index(tmp_path):
    wheel = tmp_path / "litellm-1.0.10-cp310-abi3-manylinux_2_28_x86_64.whl"
    wheel.write_bytes(wheel_of(LITELLM, litellm_table(**NEW)))
    status, out, error = await run(tmp_path, "models", "update", "--wheel", str(wheel), "--yes")
    assert (status, "xai/grok-99" in out) == (0, True), error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--wheel", "nowhere-1.0-py3-none-any.whl"), "could not be read"),
        (("--wheel", "litellm.zip"), "is no wheel of a release"),
        (("--index", "nonsense"), "No package index is known"),
        (("--index", "file:///etc"), "No package index is known"),
    ],
)
async def test_what_cannot_be_read_is_told_in_a_sentence(tmp_path, words, message):
    status, _, error = await run(tmp_path, "models", "update", *words)
    assert status != 0
    assert message in error


async def test_the_doctor_tells_how_old_the_prices_are(tmp_path):
    _, out, _ = await run(tmp_path, "doctor")
    assert "prices of the package were read" in out
